"""A service that transcribes, as cheap as can be: it takes audio, counts it, and says a few words a second.

Run as `python -m bench.listener`: prints its port as one line of JSON; for each line on standard input it
prints what it has counted, and at the end of it it ends.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.host import Placement

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
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
        while self._open and (frame := self._next()) is not None:
            opcode, size = frame
            if opcode == 8:
                return False
            if opcode == 9:
                self.sock.send(b"\x8a\x00")
            elif opcode == 2:
                self.messages += 1
                self.bytes += size
                if self.bytes // _SPEAK_BYTES > self.said:
                    self.said += 1
                    self.sock.send(words)
            elif opcode == 1 and size == 22:  # CloseStream
                return False
        return bool(data)

    def _shake_hands(self) -> None:
        head, end, rest = bytes(self._data).partition(b"\r\n\r\n")
        if not end:
            return
        fields = dict(line.partition(b":")[::2] for line in head.split(b"\r\n")[1:])
        key = {name.lower(): value.strip() for name, value in fields.items()}[b"sec-websocket-key"]
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
        self.sock.send(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self._data, self._open = bytearray(rest), True

    def _next(self) -> tuple[int, int] | None:
        data = self._data
        if len(data) < 2:
            return None
        size, start = data[1] & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        if len(data) < start + 4 + size:
            return None
        opcode = data[0] & 0x0F
        del data[: start + 4 + size]
        return opcode, size


def _frame(text: str) -> bytes:
    data = text.encode()
    return bytes([0x81, 126]) + len(data).to_bytes(2, "big") + data


def serve() -> None:
    """Serve until standard input ends."""
    words = _frame(json.dumps(_RESULT))
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
    with subprocess.Popen(
        [sys.executable, "-m", "bench.listener"],
        cwd=Path(__file__).resolve().parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            placement.apply(process.pid)
            yield Listener(process, json.loads(process.stdout.readline())["port"])
        finally:
            process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


if __name__ == "__main__":
    serve()
