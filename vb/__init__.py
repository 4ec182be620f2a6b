"""vb: a voice server on Trio."""
