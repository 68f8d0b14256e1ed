"""Tests of the faces that wait, against real hosts."""
