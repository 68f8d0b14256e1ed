"""Tests of the patterns: on a fake home with the real turns, each rule of the patterns by its name."""
