"""Base classes for what paglets often do; they know `core` alone."""
