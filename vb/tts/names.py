"""The providers of voices by the names that requests give them."""

from typing import Final

NAMES: Final = ("elevenlabs", "aws", "google", "deepgram", "azure", "local")
"""Each but the last has its place in `vb.tts.tasks.catalog` too; the first speaks when nobody is named."""
