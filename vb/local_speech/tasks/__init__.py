"""Drivers of local speech: the helper's threads, and the server's end of its pipes."""
