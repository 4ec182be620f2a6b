"""What may be asked of which provider."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from tests.stt.scripted import CAN, ScriptedProvider, changed
from vb.config import Config
from vb.config.providers import DeepgramConfig
from vb.errors import BadRequest, InvalidField, Unavailable
from vb.stt.asking import choose
from vb.stt.base import Options, Provider
from vb.stt.names import NAMES
from vb.stt.tasks.providers import transcript_providers

KEY = SecretStr("k-1")


def providers(config: Config | None = None) -> dict[str, Provider]:
    found = transcript_providers(config or Config(), None)  # type: ignore[arg-type]  # nobody is called
    return {provider.name: provider for provider in found}


def ask(name: str, **options: Any) -> Provider:
    return choose(providers(), name, Options(api_key=KEY, **options))


def test_requests_and_documents_know_each_provider_that_there_is() -> None:
    assert (*providers(), "local") == NAMES


def test_elevenlabs_is_the_default() -> None:
    assert ask("").name == "elevenlabs"


@pytest.mark.parametrize("name", ["", "elevenlabs", "deepgram", "deepgram_flux", "azure", "nope"])
def test_without_a_key_nobody_listens(name: str) -> None:
    with pytest.raises(Unavailable, match=f"^no {name or 'elevenlabs'} API key provided$"):
        choose(providers(), name, Options(eot_threshold=7))


def test_the_key_of_the_settings_serves_both_of_deepgram() -> None:
    config = Config(deepgram=DeepgramConfig(api_key=SecretStr("s")))
    for name in ("deepgram", "deepgram_flux"):
        assert choose(providers(config), name, Options()).name == name


def test_a_key_for_nobody_is_a_mistake() -> None:
    with pytest.raises(InvalidField, match="provider: knows elevenlabs, deepgram, deepgram_flux, azure"):
        ask("nope")


@pytest.mark.parametrize("key", ["a b", "a\r\nX: y", "\u00e9"])
def test_a_key_that_cannot_be_sent_is_refused(key: str) -> None:
    with pytest.raises(InvalidField, match="api_key"):
        choose(providers(), "deepgram", Options(api_key=SecretStr(key)))


@pytest.mark.parametrize(
    ("name", "options", "field"),
    [
        ("elevenlabs", {"eot_threshold": 0.5}, "eot_threshold"),
        ("elevenlabs", {"utterance_end_ms": 1000}, "utterance_end_ms"),
        ("elevenlabs", {"endpointing_ms": 100}, "endpointing"),
        ("elevenlabs", {"keyterms": ("x" * 21,)}, "keyterms"),
        ("elevenlabs", {"keyterms": ("x",) * 51}, "keyterms"),
        ("deepgram", {"eager_eot_threshold": 0.5}, "eager_eot_threshold"),
        ("deepgram", {"language_hints": ("en",)}, "language_hints"),
        ("deepgram", {"keyterms": (" ",)}, "keyterms"),
        ("deepgram", {"keyterms": ("a\nb",)}, "keyterms"),
        ("deepgram", {"model": "nova 3"}, "model"),
        ("deepgram", {"language": "english please"}, "language"),
        ("deepgram_flux", {"endpointing_ms": 100}, "endpointing"),
        ("deepgram_flux", {"eot_threshold": 1.5}, "eot_threshold"),
        ("deepgram_flux", {"eager_eot_threshold": 0.2}, "eager_eot_threshold"),
        ("deepgram_flux", {"eager_eot_threshold": 0.8, "eot_threshold": 0.7}, "eager_eot_threshold"),
        ("deepgram_flux", {"eot_timeout_ms": 1}, "eot_timeout_ms"),
        ("deepgram_flux", {"language_hints": ("",)}, "language_hints"),
        ("deepgram_flux", {"language_hints": ("en",) * 21}, "language_hints"),
        ("deepgram_flux", {"language_hints": ("es",), "model": "flux-general-en"}, "language_hints"),
        ("deepgram_flux", {"language": "es", "model": "flux-general-en"}, "language"),
        ("azure", {"endpointing_ms": 100}, "endpointing"),
        ("azure", {"model": "x"}, "model"),
    ],
)
def test_what_a_provider_cannot_do_is_refused(name: str, options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidField) as refused:
        ask(name, **options)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("elevenlabs", {"endpointing_ms": 300, "keyterms": ("a b",), "language_hints": ("de", "en")}),
        ("deepgram", {"endpointing_ms": 0, "utterance_end_ms": 1000, "language": "pt-BR"}),
        ("deepgram_flux", {"eager_eot_threshold": 0.3, "eot_threshold": 1.0, "language": "es"}),
        ("azure", {"keyterms": ("Wien",), "language": "zh-CN-sichuan"}),
    ],
)
def test_what_a_provider_can_do_is_taken(name: str, options: dict[str, Any]) -> None:
    assert ask(name, **options).name == name


def test_languages_and_models_that_a_provider_names_are_all_it_knows() -> None:
    can = changed(CAN, languages=frozenset({"en"}), models=frozenset({"tiny"}))
    table: dict[str, Provider] = {"scripted": ScriptedProvider(capabilities=can)}
    for options in (Options(language="en-GB"), Options(model="tiny"), Options()):
        choose(table, "scripted", options)
    for options in (Options(language="de"), Options(model="base")):
        with pytest.raises(BadRequest, match=r"scripted knows (en|tiny)"):
            choose(table, "scripted", options)
