"""The attacks, each run in a process of its own: `python -m fuzz.attack NAME`, briefing on standard input."""
