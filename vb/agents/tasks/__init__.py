"""Tasks that hold conversations with agents."""
