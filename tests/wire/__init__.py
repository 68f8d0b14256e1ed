"""Tests of values as messages and back."""
