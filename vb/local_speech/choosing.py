"""Which voice or model a request means, and what to say where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from vb.errors import InvalidField
from vb.local_speech.engines.base import Ability

_ADVICE = {
    "voice": "install espeakng-loader, which speaks others, or `vb models fetch` a voice",
    "model": "put a model that knows it into VB_MODELS_DIR, and name it as the model",
}


def language_of(tag: str) -> str:
    """Return the language of a tag such as en-US, in lower case."""
    return tag.replace("_", "-").partition("-")[0].lower()


def choose(abilities: Sequence[Ability], field: Literal["voice", "model"], name: str, language: str) -> str:
    """Return the name of what does a request.

    Args:
        abilities: what there is, the best first.
        field: of the request that names it.
        name: what the request says; "" for the best that knows the language.
        language: a tag; "" for any.

    Raises:
        InvalidField: there is none; the text says what to do about it.
    """
    wanted = language_of(language)
    named = [ability for ability in abilities if ability.name == name] if name else list(abilities)
    if not named:
        known = ", ".join(ability.name for ability in abilities)
        raise InvalidField(field, f"local knows {known}; `vb models list` shows what else there is")
    for ability in named:
        if not wanted or not ability.languages or wanted in ability.languages:
            return ability.name
    spoken = ", ".join(sorted({language for ability in named for language in ability.languages}))
    raise InvalidField("language", f"local knows {spoken} only: {_ADVICE[field]}")
