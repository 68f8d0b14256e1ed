"""Thin servicers: parse, call, convert; and the door that routes calls to paglets."""
