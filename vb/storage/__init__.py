"""Where finished recordings may go besides the local disk."""
