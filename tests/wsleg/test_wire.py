"""What messages mean, and what is made of them."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.wsleg.wire import (
    Control,
    Nothing,
    Ping,
    Stop,
    Text,
    Unusable,
    WireFormat,
    audio_message,
    connected_message,
    pong_message,
    read_message,
    text_message,
)

FORMATS: tuple[WireFormat, ...] = ("binary", "json_base64")
KEYS = ("type", "audio", "text", "event_id")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS), inner),
)


@given(st.binary() | st.text() | JSON.map(json.dumps), st.sampled_from(FORMATS))
def test_whatever_comes_is_read_and_nothing_raises(message: bytes | str, wire_format: WireFormat) -> None:
    found = read_message(message, wire_format)
    if isinstance(found, bytes):
        assert len(found) % 2 == 0
    elif isinstance(found, Ping):
        json.loads(pong_message(found.event_id), parse_constant=pytest.fail)
    elif isinstance(found, Text):
        text_message(found.text).encode()


@given(st.binary().filter(lambda data: len(data) % 2 == 0), st.sampled_from(FORMATS))
def test_audio_comes_back_as_it_went(pcm: bytes, wire_format: WireFormat) -> None:
    assert read_message(audio_message(pcm, wire_format), wire_format) == pcm


@pytest.mark.parametrize(
    "text",
    ['{"audio":"AAAA"}', '{"type":"audio","audio":"AAAA"}', '{"type":null,"audio":"AAAA"}'],
)
def test_audio_needs_no_type(text: str) -> None:
    assert read_message(text, "json_base64") == Unusable("half a sample")
    assert read_message(text.replace("AAAA", "AAA="), "json_base64") == b"\0\0"


@pytest.mark.parametrize("value", ["A", "A===", "AAA", "AA=A", "A\nAA=", "____", "é", 1, None, ["AAA="]])
def test_what_is_no_base64_is_dropped(value: object) -> None:
    assert read_message(json.dumps({"type": "audio", "audio": value}), "json_base64") == Unusable(
        "not Base64"
    )


def test_audio_in_the_other_format_is_dropped() -> None:
    assert isinstance(read_message(b"\0\0", "json_base64"), Unusable)
    assert isinstance(read_message('{"audio":"AAA="}', "binary"), Unusable)


@pytest.mark.parametrize("text", ["", "no json", "[]", "1", "[" * 100_000, '{"a":' * 50_000, "9" * 5000])
def test_text_that_is_no_object_is_dropped(text: str) -> None:
    assert read_message(text, "binary") == Unusable("not a JSON object")


def test_more_text_than_can_be_of_use_is_not_even_read() -> None:
    assert read_message('{"audio":"' + "AAAA" * 100_000 + '"}', "json_base64") == Unusable("too long")


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        ({"type": "ping", "event_id": 7}, Ping(7)),
        ({"type": "ping", "event_id": "a" * 500}, Ping("a" * 128)),
        ({"type": "ping", "event_id": True}, Ping(None)),
        ({"type": "ping", "event_id": 10**30}, Ping(None)),
        ({"type": "ping", "event_id": {"x": 1}}, Ping(None)),
        ({"type": "ping"}, Ping(None)),
        ({"type": "pong", "event_id": 1}, Nothing()),
        ({"type": "text", "text": "x"}, Text("x")),
        ({"type": "text", "text": "a\ud800b"}, Text("a\ufffdb")),
        ({"type": "text", "text": ""}, Nothing()),
        ({"type": "text", "text": 1}, Nothing()),
        ({"type": "hangup"}, Stop()),
        ({"type": "stop"}, Stop()),
        ({"type": "nonsense"}, Nothing()),
        ({"type": ["stop"]}, Nothing()),
        ({}, Nothing()),
    ],
)
def test_control_frames(frame: dict[str, object], found: Control) -> None:
    for wire_format in FORMATS:
        assert read_message(json.dumps(frame), wire_format) == found


def test_a_number_that_is_none_is_not_sent_back() -> None:
    assert read_message('{"type":"ping","event_id":NaN}', "binary") == Ping(None)
    assert read_message('{"type":"ping","event_id":1e999}', "binary") == Ping(None)


def test_the_welcome_names_rate_and_format() -> None:
    assert json.loads(connected_message("p", 48000)) == {
        "type": "connected",
        "participant_id": "p",
        "sample_rate": 48000,
        "format": "pcm_s16le",
    }
    assert json.loads(connected_message("p", 8000, leg_id="p"))["leg_id"] == "p"


def test_audio_in_json_has_no_type() -> None:
    message = audio_message(b"\1\0", "json_base64")
    assert isinstance(message, str)
    assert json.loads(message) == {"audio": base64.b64encode(b"\1\0").decode()}
