"""Playback: what is played to legs and rooms."""
