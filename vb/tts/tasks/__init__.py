"""The tasks of voices: the only part of vb.tts that waits."""
