"""Transcripts: what a leg or room says in, text out."""
