"""Calls: how an INVITE becomes a leg, in either direction."""
