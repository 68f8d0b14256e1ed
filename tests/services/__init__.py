"""Tests of `paglets.services` and `paglets.server`: the doors of a host, over real TCP."""
