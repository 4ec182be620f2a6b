"""A browser-like caller, made of aiortc, and a STUN server that says what it is told to say."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from conformance.expect import Difference, check

_COOKIE = 0x2112A442
_REQUEST, _SUCCESS = 0x0001, 0x0101
_XOR_MAPPED_ADDRESS = 0x0020


class WebRtcPeer:
    """One peer connection; its offer has all its candidates.

    Attributes:
        offer: what it offers.
    """

    def __init__(self, process: trio.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout
        self._buffer = b""
        self.offer = ""

    async def say(self, **words: object) -> None:
        """Tells the process something."""
        await self._stdin.send_all(json.dumps(words).encode() + b"\n")

    async def told(self, key: str, within_s: float = 20.0) -> dict[str, object]:
        """The next line with a key; others are passed over.

        Raises:
            Difference: when none comes in time, or the process ends.
        """
        with trio.move_on_after(within_s):
            while True:
                line, separator, rest = self._buffer.partition(b"\n")
                if separator:
                    self._buffer = rest
                    words: dict[str, object] = json.loads(line)
                    if key in words:
                        return words
                    continue
                data = await self._stdout.receive_some()
                if not data:
                    raise Difference("WebRTC peer", f"a line with {key}", "its end")
                self._buffer += data
        raise Difference("WebRTC peer", f"a line with {key} within {within_s:g} s", "nothing")

    async def reaches(self, state: str) -> None:
        """Waits for a state of its connection."""
        while (await self.told("state"))["state"] != state:
            pass

    async def hears(self, for_ms: int = 500) -> list[object]:
        """The tones within a window that begins now."""
        await self.say(report=for_ms)
        tones = (await self.told("tones"))["tones"]
        assert isinstance(tones, list)
        return tones

    async def press(self, digits: str) -> None:
        """Presses keys, one after the other."""
        await self.say(press=digits)

    async def hears_digits(self, digits: str, within_s: float = 3.0) -> None:
        """Waits until exactly these digits have come since the peer was opened.

        Raises:
            Difference: when they do not come in time, or others do.
        """
        heard: object = ""
        with trio.move_on_after(within_s):
            while heard != digits:
                await trio.sleep(0.1)
                await self.say(pressed=True)
                heard = (await self.told("digits"))["digits"]
        check("digits at the WebRTC peer", heard, digits)

    def without_candidates(self) -> tuple[str, list[str]]:
        """Its offer as one that trickles, and its candidates."""
        lines = self.offer.splitlines()
        found = [line.removeprefix("a=") for line in lines if line.startswith("a=candidate")]
        kept = [line for line in lines if not line.startswith(("a=candidate", "a=end-of"))]
        return "".join(f"{line}\r\n" for line in kept), found

    async def answer(self, offer: str) -> str:
        """Its answer to an offer, with all its candidates; its tone goes out once it is connected."""
        await self.say(offer=offer)
        return str((await self.told("answered"))["answered"])

    def vanish(self) -> None:
        """Ends the process without a word to anybody."""
        self._process.kill()


@asynccontextmanager
async def open_webrtc(
    pitch_hz: float, *, answers: bool = False, digits: bool = False
) -> AsyncIterator[WebRtcPeer]:
    """A peer that speaks a tone, for the time of the block.

    Args:
        pitch_hz: of the tone.
        answers: whether it answers an offer in place of making one.
        digits: whether its descriptions have telephone-events.
    """
    command = [sys.executable, "-m", "conformance.peers.webrtc_process", str(pitch_hz)]
    command += [word for word, wanted in (("answers", answers), ("digits", digits)) if wanted]
    async with trio.open_nursery() as nursery:
        run = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
        peer = WebRtcPeer(await nursery.start(run))
        if not answers:
            peer.offer = str((await peer.told("offer"))["offer"])
        yield peer
        nursery.cancel_scope.cancel()


class StunServer:
    """Answers every binding request with one address.

    Attributes:
        port: where it listens on 127.0.0.1.
        asked: how many requests came.
    """

    def __init__(self, sock: trio.socket.SocketType, mapped: tuple[str, int]) -> None:
        self.port: int = sock.getsockname()[1]
        self.asked = 0
        self._socket = sock
        self._mapped = mapped

    async def run(self) -> None:
        """Answers until cancelled."""
        while True:
            data, source = await self._socket.recvfrom(2048)
            if len(data) < 20 or struct.unpack_from("!H", data)[0] != _REQUEST:
                continue
            self.asked += 1
            host, port = self._mapped
            value = struct.pack("!xBH", 1, port ^ _COOKIE >> 16)
            value += struct.pack("!I", int.from_bytes(socket.inet_aton(host)) ^ _COOKIE)
            attribute = struct.pack("!HH", _XOR_MAPPED_ADDRESS, len(value)) + value
            head = struct.pack("!HHI", _SUCCESS, len(attribute), _COOKIE) + data[8:20]
            await self._socket.sendto(head + attribute, source)


@asynccontextmanager
async def open_stun(mapped: tuple[str, int]) -> AsyncIterator[StunServer]:
    """A STUN server for the time of the block."""
    sock = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
    with sock:
        await sock.bind(("127.0.0.1", 0))
        async with trio.open_nursery() as nursery:
            server = StunServer(sock, mapped)
            nursery.start_soon(server.run)
            yield server
            nursery.cancel_scope.cancel()
