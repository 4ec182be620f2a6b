"""Settings of text to speech."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vb.settings import Bool, Group, Seconds, setting


class VoiceConfig(Group):
    """What is kept of speech, and how much of it is prepared ahead."""

    cache: Bool = setting("TTS_CACHE_ENABLED", "keep synthesized speech on disk", False)
    cache_dir: Annotated[str, Field(min_length=1)] = setting(
        "TTS_CACHE_DIR", "folder of kept speech", "/tmp/tts_cache"
    )
    cache_by_key: Bool = setting(
        "TTS_CACHE_INCLUDE_API_KEY", "keep speech apart for each key of a provider", False
    )
    cache_max_mb: Annotated[int, Field(ge=1, le=1_000_000)] = setting(
        "VB_TTS_CACHE_MAX_MB", "size of the folder in MB; what was not used for longest goes first", 512
    )
    preflight_ttl_s: Seconds = setting(
        "TTS_PREFLIGHT_TTL", "how long prepared speech waits to be committed", 30.0, shown="30s", gt=0
    )
    preflight_max: Annotated[int, Field(ge=1, le=100)] = setting(
        "TTS_PREFLIGHT_MAX_PER_LEG", "how many utterances wait on one leg", 3
    )
    preflight_max_bytes: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = setting(
        "TTS_PREFLIGHT_MAX_BYTES", "longest prepared speech, as bytes of audio", 4 * 1024 * 1024
    )
