"""Whether what clients saw can have happened one after the other: a checker of histories, and its own tests."""
