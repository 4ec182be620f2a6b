import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.webrtc import stun
from vb.webrtc.stun import Attr, Kind, Method
from vb.webrtc.turn_framing import (
    MAX_MESSAGE_BYTES,
    TurnFramer,
    TurnFramingError,
    channel_data,
    is_channel_data,
    read_channel_data,
)

MESSAGE = stun.build(Kind.INDICATION, Method.DATA, bytes(12), [(Attr.DATA, b"abc")])


@given(st.lists(st.binary(max_size=30), max_size=6), st.integers(1, 40))
def test_messages_are_cut_out_whatever_the_pieces(payloads: list[bytes], size: int) -> None:
    stream = b"".join(
        channel_data(0x4000 + n, data, padded=True) + MESSAGE for n, data in enumerate(payloads)
    )
    framer = TurnFramer()
    found = [message for at in range(0, len(stream), size) for message in framer.feed(stream[at : at + size])]
    assert found[1::2] == [MESSAGE] * len(payloads)
    assert [read_channel_data(message) for message in found[::2]] == [
        (0x4000 + n, data) for n, data in enumerate(payloads)
    ]


@given(st.binary(max_size=300))
def test_any_stream_is_cut_or_ends_with_the_one_error(data: bytes) -> None:
    framer = TurnFramer()
    try:
        messages = framer.feed(data)
    except TurnFramingError:
        return
    assert sum(map(len, messages)) <= len(data)


@pytest.mark.parametrize("data", [b"SSH-2.0-x", b"\x80\0\0\0", b"\0\1\0\3"])
def test_another_protocol_ends_the_stream(data: bytes) -> None:
    with pytest.raises(TurnFramingError):
        TurnFramer().feed(data)


def test_channel_data_that_is_cut_off_is_not_read() -> None:
    message = channel_data(0x4001, b"12345", padded=False)
    assert is_channel_data(message)
    assert len(message) == 9
    assert read_channel_data(message[:-1]) is None
    assert read_channel_data(message + b"padding") == (0x4001, b"12345")
    assert not is_channel_data(MESSAGE)
    assert len(channel_data(0x4001, bytes(65_535), padded=True)) <= MAX_MESSAGE_BYTES + 1
