"""The history of calls: what is kept of each, where it is stored, and how it is found again."""
