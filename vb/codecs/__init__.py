"""Audio codecs and sample rate conversion: PCM in numpy int16, mono, native byte order."""
