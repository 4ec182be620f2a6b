"""The tasks of recording that write."""
