"""Values of other kinds than a provider's documents promise: a failure, or made fit for events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.stt.test_codecs import make
from vb.stt.base import Failed, FinalText

_TURN: dict[str, Any] = {
    "type": "TurnInfo",
    "event": "Update",
    "turn_index": 0,
    "audio_window_start": 0.0,
    "audio_window_end": 1.0,
    "transcript": "hi",
    "words": [],
    "end_of_turn_confidence": 0.5,
}
_RESULT: dict[str, Any] = {"type": "Results", "start": 0.0, "duration": 1.0, "is_final": True}


@pytest.mark.parametrize(
    "change",
    [
        {"end_of_turn_confidence": float("nan")},
        {"end_of_turn_confidence": "0.5"},
        {"turn_index": 10**30},
        {"transcript": {"a": "b"}},
        {"transcript": ["hi"]},
        {"words": [{"word": 5, "confidence": 1}]},
        {"audio_window_end": 1e300},
        {"audio_window_end": True},
    ],
)
def test_flux_values_of_other_kinds_are_a_failure(change: dict[str, Any]) -> None:
    (read,) = make("deepgram_flux").receive(json.dumps({**_TURN, **change}))
    assert isinstance(read, Failed)
    assert read.category == "retryable"


@pytest.mark.parametrize(
    ("transcript", "change", "text"),
    [
        (None, {}, ""),
        ("a\ud800b", {}, "a?b"),
        ("x" * 100_000, {}, "x" * 16_384),
        ({"a": 1}, {}, None),
        (5, {}, None),
        ("hi", {"start": 1e999}, None),
        ("hi", {"duration": "1"}, None),
        ("hi", {"start": -3.0}, "hi"),
    ],
)
def test_deepgram_texts_and_times_are_fit_for_events(
    transcript: object, change: dict[str, Any], text: str | None
) -> None:
    message = {**_RESULT, "channel": {"alternatives": [{"transcript": transcript}]}, **change}
    (read,) = make("deepgram").receive(json.dumps(message))
    if text is None:
        assert isinstance(read, Failed)
    else:
        assert isinstance(read, FinalText)
        assert read.text == text
        assert read.start_ms == 0
