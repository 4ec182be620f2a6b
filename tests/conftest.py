"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("vb", deadline=None)  # an example takes as long as a busy machine lets it
settings.load_profile("vb")
