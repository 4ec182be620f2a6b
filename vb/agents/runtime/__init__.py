"""The server's own agents: whose turn it is, what was heard, and what is answered, all without I/O."""
