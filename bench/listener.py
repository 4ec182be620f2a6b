"""A service that transcribes, as cheap as can be: it takes audio, counts it, and says a few words a second.

Run as `python -m bench.listener`: prints its port as one line of JSON; for each line on standard input it
prints what it has counted, and at the end of it it ends.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from bench.host import Placement
from bench.served import BINARY, CLOSE, PING, PONG, TEXT, frame_of, headers_of, opening_of, take_masked
from bench.services import running_service

_READ_BYTES: Final = 262_144
_SPEAK_BYTES: Final = 32_000
"""After so much audio, a second of it, the service says something."""
_RESULT: Final = {
    "type": "Results",
    "channel_index": [0, 1],
    "start": 0.0,
    "duration": 1.0,
    "is_final": True,
    "speech_final": True,
    "channel": {
        "alternatives": [{"transcript": "some words that were said", "confidence": 0.9, "words": []}]
    },
    "metadata": {"request_id": "", "model_uuid": "", "model_info": {"name": "", "version": "", "arch": ""}},
}


@dataclass(frozen=True, slots=True)
class Heard:
    """What was counted: sockets that are open, bytes of audio, messages of audio, texts said."""

    sockets: int
    bytes: int
    messages: int
    said: int


class _Line:
    """One client: its handshake, then its frames, of which only lengths matter."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.bytes = 0
        self.messages = 0
        self.said = 0
        self._data = bytearray()
        self._open = False

    def take(self, data: bytes, words: bytes) -> bool:
        """Take what has come; returns whether the client is still there."""
        self._data += data
        if not self._open:
            self._shake_hands()
        while self._open and (frame := take_masked(self._data, read=frozenset())) is not None:
            opcode, size, _ = frame
            if opcode == CLOSE:
                return False
            if opcode == PING:
                self.sock.send(PONG)
            elif opcode == BINARY:
                self.messages += 1
                self.bytes += size
                if self.bytes // _SPEAK_BYTES > self.said:
                    self.said += 1
                    self.sock.send(words)
            elif opcode == TEXT and size == 22:  # CloseStream
                return False
        return bool(data)

    def _shake_hands(self) -> None:
        head, end, rest = bytes(self._data).partition(b"\r\n\r\n")
        if end:
            self.sock.send(opening_of(headers_of(head)))
            self._data, self._open = bytearray(rest), True


def serve() -> None:
    """Serve until standard input ends."""
    words = frame_of(TEXT, json.dumps(_RESULT).encode())
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    lines: dict[int, _Line] = {}
    done: list[_Line] = []
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    poll.register(sys.stdin.fileno(), select.EPOLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == listener.fileno():
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                lines[sock.fileno()] = _Line(sock)
                poll.register(sock.fileno(), select.EPOLLIN)
            elif descriptor == sys.stdin.fileno():
                if not os.read(descriptor, 4096):
                    return
                every = [*lines.values(), *done]
                print(
                    json.dumps(
                        [
                            len(lines),
                            sum(line.bytes for line in every),
                            sum(line.messages for line in every),
                            sum(line.said for line in every),
                        ]
                    ),
                    flush=True,
                )
            else:
                line = lines[descriptor]
                try:
                    there = line.take(line.sock.recv(_READ_BYTES), words)
                except OSError:
                    there = False
                if not there:
                    poll.unregister(descriptor)
                    del lines[descriptor]
                    done.append(line)
                    line.sock.close()


class Listener:
    """The running service."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._process = process

    def heard(self) -> Heard:
        """Return what it has counted up to now."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        return Heard(*json.loads(self._process.stdout.readline()))


@contextmanager
def running_listener(placement: Placement) -> Iterator[Listener]:
    """A service for the time of the block."""
    with running_service("bench.listener", placement) as (process, port):
        yield Listener(process, port)


if __name__ == "__main__":
    serve()
