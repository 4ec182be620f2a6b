"""Rooms: who is in them, and what is played into and recorded from them."""
