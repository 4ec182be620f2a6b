"""Whatever a provider says over a WebSocket: it is speech, nothing, or a failure."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tts.codecs import voice
from vb.providers.failure import ProviderFailed
from vb.tts.base import Audio, Done, Mark
from vb.tts.deepgram_stream import DeepgramStream
from vb.tts.elevenlabs_stream import ElevenLabsStream
from vb.tts.stream import StreamCodec

MAKERS: dict[str, Callable[[], StreamCodec]] = {
    "deepgram": lambda: DeepgramStream("deepgram", "https://api.example", voice("v")),
    "elevenlabs": lambda: ElevenLabsStream(
        "elevenlabs", "https://api.example", "v", voice("v", model_id="m")
    ),
}
_ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_SOUND = st.binary(max_size=64).map(lambda data: base64.b64encode(data).decode())
_ALIGNMENT = st.fixed_dictionaries(
    {
        "chars": st.lists(st.text(max_size=2), max_size=4) | _ODD,
        "charStartTimesMs": st.lists(st.integers(), max_size=4) | _ODD,
        "charDurationsMs": st.lists(st.integers(), max_size=4) | _ODD,
    }
)
_OBJECT = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["Metadata", "Flushed", "Cleared", "Warning", "Error", "x"]) | _ODD,
        "description": _ODD,
        "code": _ODD,
        "error": _ODD,
        "audio": _SOUND | _ODD,
        "contextId": st.sampled_from(["u0", "u1", None]) | _ODD,
        "isFinal": _ODD,
        "alignment": _ALIGNMENT | _ODD,
    },
)
_MESSAGE = (_OBJECT | _ODD).map(json.dumps) | st.text(max_size=20) | st.binary(max_size=64)
_STEP = st.sampled_from(["feed", "finalize", "clear", "keep_alive"])


@pytest.mark.parametrize("name", MAKERS)
@settings(deadline=None, max_examples=150)
@given(steps=st.lists(_STEP | _MESSAGE.map(lambda message: (message,)), max_size=12))
def test_nothing_that_is_said_is_worse_than_a_failure(
    name: str, steps: list[str | tuple[str | bytes]]
) -> None:
    codec = MAKERS[name]()
    for step in steps:
        if step == "feed":
            codec.feed("some words ")
        elif isinstance(step, str):
            getattr(codec, step)()
        else:
            try:
                spoken = codec.receive(step[0])
            except ProviderFailed:
                return
            assert all(isinstance(item, Audio | Mark | Done) for item in spoken)
        for message in codec.take():
            assert isinstance(json.loads(message), dict)
