"""The providers of transcripts by the names that requests give them."""

from typing import Final

NAMES: Final = ("elevenlabs", "deepgram", "deepgram_flux", "azure", "local")
"""Each but the last has its place in `vb.stt.tasks.providers` too; the first listens when nobody is named."""
