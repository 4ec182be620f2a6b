"""Agents: partners in a conversation, attached to a leg or room."""
