"""The service that transcripts are measured against."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

from bench.host import placements
from bench.listener import Heard, Listener, running_listener
from bench.websocket import WebSocket, masked_frame, take_frame

_MASK = b"\x01\x02\x03\x04"


def wait_for(listener: Listener, sockets: int) -> Heard:
    """What the service has counted once so many sockets are open."""
    deadline = time.monotonic() + 10
    while (heard := listener.heard()).sockets != sockets:
        assert time.monotonic() < deadline
    return heard


def test_audio_is_counted_and_answered_with_words() -> None:
    with running_listener(placements(realtime=False)[1]) as listener:
        port = urlsplit(listener.url).port
        assert port is not None
        sock, rest = WebSocket("127.0.0.1", port, "/v1/listen").detach()
        wait_for(listener, 1)
        for _ in range(25):
            sock.sendall(masked_frame(2, bytes(1280), _MASK))
        words = read_frame(sock, rest)
        assert words[0] == 1
        assert b'"Results"' in words[1]
        sock.sendall(masked_frame(1, b'{"type":"CloseStream"}', _MASK))
        assert wait_for(listener, 0) == Heard(0, 32_000, 25, 1)
        sock.close()


def read_frame(sock: socket.socket, data: bytearray) -> tuple[int, bytes]:
    """The next frame of the service."""
    while (frame := take_frame(data)) is None:
        data += sock.recv(65_536)
    return frame
