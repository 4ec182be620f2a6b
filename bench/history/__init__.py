"""How fast a history of a million calls is read, and what a call costs on the disk."""
