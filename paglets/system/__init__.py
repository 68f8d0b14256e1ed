"""Services that hosts offer by resident paglets: notes to people, and what machines and the mesh are like."""
