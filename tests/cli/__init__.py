"""Tests of the command line, as processes: what is on stdout, what on stderr, and the exit code."""
