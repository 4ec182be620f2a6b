from __future__ import annotations

import pytest

from bench.websocket import masked_frame, take_frame


def unmask(frame: bytes, head: int) -> bytes:
    mask, payload = frame[head : head + 4], frame[head + 4 :]
    return bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


@pytest.mark.parametrize(("size", "head"), [(0, 2), (1, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)])
def test_a_client_frame_is_masked_and_has_its_length(size: int, head: int) -> None:
    payload = bytes(place % 251 for place in range(size))
    frame = masked_frame(1, payload, b"\x01\x02\xf3\x04")
    assert frame[0] == 0x81
    assert frame[1] & 0x80
    assert len(frame) == head + 4 + size
    assert unmask(frame, head) == payload


@pytest.mark.parametrize(
    ("header", "size"),
    [(b"\x81\x03", 3), (b"\x81\x7e\x00\x80", 128), (b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 65536)],
)
def test_a_server_frame_is_taken_when_it_is_whole(header: bytes, size: int) -> None:
    data = bytearray()
    for byte in header + b"x" * size:
        assert take_frame(data) is None
        data.append(byte)
    data += b"\x89\x00"
    assert take_frame(data) == (1, b"x" * size)
    assert take_frame(data) == (9, b"")
    assert data == b""
