"""The demonstration call: what it plays and what it shows."""
