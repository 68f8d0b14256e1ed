"""Tests of the directory: one contract for every implementation, and what each has of its own."""
