"""Who owns which paglet: the contract of the directory, and the one in SQLite."""
