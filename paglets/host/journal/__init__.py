"""What a host must not forget: rows in one SQLite file."""
