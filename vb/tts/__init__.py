"""Voices: text in, audio out, spoken to a leg or room."""
