"""How a database of the history is brought up to date."""
