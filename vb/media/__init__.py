"""Playback, tones and recording: what turns files into frames and frames into files."""
