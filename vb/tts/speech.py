"""One utterance as it is asked for, and what can be refused of it before anybody is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from vb.errors import InvalidField
from vb.tts.base import MAX_TEXT, Capabilities, Provider, Voice

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_UNSPEAKABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MAX_WORD: Final = 256
_MAX_PROMPT: Final = 4_000


@dataclass(frozen=True, slots=True)
class Speech:
    """A text, who speaks it and how.

    Attributes:
        provider: who speaks.
        voice: as the provider's `check` returned it.
        text: what is said.
        volume: steps of 3 dB.
        overlap: whether it is heard at once, whatever else is being said.
    """

    provider: Provider
    voice: Voice
    text: str
    volume: int = 0
    overlap: bool = False


def check_text(text: str) -> str:
    """Return a text that can be spoken; characters that say nothing are left out.

    Raises:
        InvalidField: there is nothing to say, or too much.
    """
    spoken = _UNSPEAKABLE.sub("", text).strip()
    if not spoken:
        raise InvalidField("text", "is required")
    if len(spoken) > MAX_TEXT:
        raise InvalidField("text", f"must have at most {MAX_TEXT} characters")
    return spoken


def check_voice(name: str, capabilities: Capabilities, voice: Voice) -> None:
    """Refuse what a provider can never do.

    Raises:
        InvalidField: and says which field it is.
    """
    if not voice.voice:
        raise InvalidField("voice", "is required")
    for field, value in (("voice", voice.voice), ("model_id", voice.model_id), ("language", voice.language)):
        if len(value) > _MAX_WORD or _CONTROL.search(value):
            raise InvalidField(field, f"must be at most {_MAX_WORD} printable characters")
    key = voice.api_key.get_secret_value()
    if len(key) > 4_096 or not key.isascii() or _CONTROL.search(key):
        raise InvalidField("api_key", "must be printable ASCII")
    if len(voice.prompt) > _MAX_PROMPT or _UNSPEAKABLE.search(voice.prompt):
        raise InvalidField("prompt", f"must be text of at most {_MAX_PROMPT} characters")
    if voice.prompt and not capabilities.prompt:
        raise InvalidField("prompt", f"{name} cannot be told how to sound")
    if capabilities.models is not None and voice.model_id and voice.model_id not in capabilities.models:
        raise InvalidField("model_id", f"{name} has {', '.join(sorted(capabilities.models))}")
    known = capabilities.languages
    if known is not None and voice.language and voice.language.lower() not in known:
        raise InvalidField("language", f"{name} speaks {', '.join(sorted(known))}")
