"""A host at work: the journal, the turns, the journeys."""
