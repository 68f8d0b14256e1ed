"""Services are advertised, found, started and kept, by hosts that talk over TCP."""
