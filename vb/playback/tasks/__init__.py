"""The tasks of playback: the only part of vb.playback that waits."""
