"""An explicit-state model of ownership: every interleaving of a few hosts, one paglet, its clients and a few faults."""
