"""Measures a running server from outside: cost per leg, lateness, loss, memory, delay and set-up time."""
