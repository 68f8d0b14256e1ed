"""How programs, and hosts among themselves, call a host."""
