"""Processes of the server's own: how they are started and ended, watched, and talked with over pipes."""
