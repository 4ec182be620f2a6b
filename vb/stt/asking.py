"""What a client may ask of a provider of transcripts: refused before anything is begun."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from vb.errors import InvalidField, Unavailable
from vb.providers.reading import is_key
from vb.stt.base import Options, Provider
from vb.stt.names import NAMES

_LANGUAGE: Final = re.compile(r"(?:[A-Za-z0-9]{1,8}(?:-[A-Za-z0-9]{1,8}){0,4})?")
_MODEL: Final = re.compile(r"[A-Za-z0-9._:/@-]{0,128}")
_NAMES: Final = {"endpointing_ms": "endpointing"}
"""Options whose fields have other names in requests."""
_NUMBERS: Final = (
    "endpointing_ms",
    "utterance_end_ms",
    "eot_threshold",
    "eager_eot_threshold",
    "eot_timeout_ms",
)
_CHOICES: Final = ("model", "keyterms", *_NUMBERS, "language_hints")
MAX_HINTS: Final = 20


def choose(providers: Mapping[str, Provider], name: str, options: Options) -> Provider:
    """Return the provider that a request names, if it can do what is asked.

    Whether it has a key is looked at first, and what it can do after that.

    Raises:
        Unavailable: there is no such provider, it has no key, or it is not ready.
        NotAvailable: it is not installed.
        BadRequest: it can never do what is asked.
    """
    name = name or NAMES[0]
    key = options.api_key.get_secret_value()
    provider = providers.get(name)
    if provider is None:
        if key:
            raise InvalidField("provider", f"knows {', '.join(providers)}")
        raise Unavailable(f"no {name[:64]} API key provided")
    if not is_key(key):
        raise InvalidField("api_key", "has letters that no key has")
    provider.check_ready(options)
    _check(provider, options)
    provider.check(options)
    return provider


def _check(provider: Provider, options: Options) -> None:
    can = provider.capabilities
    for field in _CHOICES:
        value = getattr(options, field)
        if value is not None and value != "" and value != () and field not in can.options:
            raise InvalidField(_NAMES.get(field, field), f"{provider.name} has no such option")
    for field in _NUMBERS:
        value, allowed = getattr(options, field), can.ranges.get(field)
        if value is not None and allowed is not None and not allowed.low <= value <= allowed.high:
            raise InvalidField(_NAMES.get(field, field), f"must be from {allowed.low:g} to {allowed.high:g}")
    _check_language(provider, "language", options.language)
    for hint in options.language_hints:
        if not hint:
            raise InvalidField("language_hints", "has an empty one")
        _check_language(provider, "language_hints", hint)
    if len(options.language_hints) > MAX_HINTS:
        raise InvalidField("language_hints", f"has more than {MAX_HINTS} entries")
    if not _MODEL.fullmatch(options.model):
        raise InvalidField("model", "is no name of a model")
    if options.model and can.models is not None and options.model not in can.models:
        raise InvalidField("model", f"{provider.name} knows {', '.join(sorted(can.models))}")
    _check_keyterms(provider, options.keyterms)


def _check_language(provider: Provider, field: str, language: str) -> None:
    if not _LANGUAGE.fullmatch(language):
        raise InvalidField(field, "is no language code")
    known = provider.capabilities.languages
    code = language.lower()
    if code and known is not None and code not in known and code.partition("-")[0] not in known:
        raise InvalidField(field, f"{provider.name} knows {', '.join(sorted(known))}")


def _check_keyterms(provider: Provider, keyterms: tuple[str, ...]) -> None:
    can = provider.capabilities
    if len(keyterms) > can.max_keyterms:
        raise InvalidField("keyterms", f"{provider.name} takes no more than {can.max_keyterms}")
    for term in keyterms:
        if not term.strip() or not term.isprintable():
            raise InvalidField("keyterms", "has one that is no word")
        if len(term) > can.max_keyterm_chars:
            raise InvalidField("keyterms", f"each has at most {can.max_keyterm_chars} letters")
