"""Whatever a provider sends, its codec reads it or calls it a failure, and raises nothing."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stt.test_codecs import SERVICES, azure_message, make
from vb.stt.base import Failed, FinalText, PartialText, Turn

_KEYS = st.sampled_from(
    ["type", "message_type", "channel", "alternatives", "transcript", "start", "duration", "is_final",
     "event", "words", "word", "turn_index", "audio_window_start", "audio_window_end", "text", "error",
     "end_of_turn_confidence", "description", "code", "last_word_end", "languages", "confidence", "end",
     "RecognitionStatus", "NBest", "Display", "Text", "Offset", "Duration"]
)  # fmt: skip
_KINDS = st.sampled_from(
    ["Results", "UtteranceEnd", "Error", "Metadata", "Connected", "TurnInfo", "Update", "EndOfTurn",
     "partial_transcript", "committed_transcript", "auth_error", "Success", "NoMatch"]
)  # fmt: skip
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.just("\ud800")
    | _KINDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=6),
    max_leaves=12,
)
_MESSAGES = st.fixed_dictionaries({"type": _KINDS, "message_type": _KINDS}).flatmap(
    lambda kinds: st.dictionaries(_KEYS, _VALUES, max_size=10).map(lambda found: {**found, **kinds})
)


@pytest.mark.parametrize("name", SERVICES)
@settings(max_examples=150, deadline=None)
@given(value=_MESSAGES, raw=st.binary(max_size=40) | st.text(max_size=40))
def test_any_message_is_read_or_is_a_failure(name: str, value: dict[str, Any], raw: bytes | str) -> None:
    body = json.dumps(value)
    for message in (
        body,
        raw,
        azure_message("speech.phrase", value),
        azure_message("speech.hypothesis", value),
    ):
        for read in make(name).receive(message):
            assert isinstance(read, Failed | FinalText | PartialText | Turn)
            json.dumps(asdict(read), allow_nan=False, ensure_ascii=False).encode()
