"""Tests of `paglets.host`: turns, journeys, and what keeps both honest."""
