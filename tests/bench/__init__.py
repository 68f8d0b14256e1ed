"""Tests of the bench: its references must be right, its counts true, and nothing compared that differs."""
