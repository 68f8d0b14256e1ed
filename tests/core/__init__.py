"""Tests of what a paglet is, without a host."""
