"""Small paglets to learn from; each is a page long."""
