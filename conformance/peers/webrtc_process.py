"""A WebRTC peer in a process of its own, because aiortc needs asyncio; spoken to in lines of JSON.

Lines in: `{"offer": sdp}`, `{"answer": sdp}`, `{"candidate": text, "mid": mid}`, `{"report": ms}`,
`{"press": digits}`, `{"pressed": true}` or `{"close": true}`. Lines out: `{"offer": sdp}` unless it answers,
`{"answered": sdp}` to an offer, each state of the connection as `{"state": word}`, then what was asked for.
Started with the pitch of its tone in Hz, and with "answers" and "digits" where it does and has them.
"""

from __future__ import annotations

import asyncio
import fractions
import json
import sys
import time

import numpy as np
from aioice import ice
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp
from av import AudioFrame

from conformance.peers.measure import level_db, tones_of
from conformance.peers.webrtc_digits import Digits, with_events

RATE_HZ = 48_000
FRAME = 960


class Tone(MediaStreamTrack):
    """A sine in real time."""

    kind = "audio"

    def __init__(self, pitch_hz: float) -> None:
        super().__init__()
        self._pitch_hz = pitch_hz
        self._at = 0
        self._began = time.monotonic()

    async def recv(self) -> AudioFrame:
        """The next 20 ms, when they are due."""
        await asyncio.sleep(max(0.0, self._began + self._at / RATE_HZ - time.monotonic()))
        angles = 2 * np.pi * self._pitch_hz * (np.arange(FRAME) + self._at) / RATE_HZ
        frame = AudioFrame.from_ndarray((8000 * np.sin(angles)).astype(np.int16)[None], layout="mono")
        frame.sample_rate = RATE_HZ
        frame.pts = self._at
        frame.time_base = fractions.Fraction(1, RATE_HZ)
        self._at += FRAME
        return frame


def _tell(**words: object) -> None:
    print(json.dumps(words), flush=True)


async def listen(track: MediaStreamTrack, heard: list[np.ndarray]) -> None:
    """Keeps the frames of a track."""
    while True:
        frame = await track.recv()
        assert isinstance(frame, AudioFrame)
        heard.append(frame.to_ndarray().reshape(-1)[:: len(frame.layout.channels)].astype(np.int16))


async def _main() -> None:
    ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    peer = RTCPeerConnection()
    digits = Digits(peer.addTrack(Tone(float(sys.argv[1]))).transport)
    heard: list[np.ndarray] = []
    tasks: list[asyncio.Task[None]] = []
    peer.on("track", lambda track: tasks.append(asyncio.ensure_future(listen(track, heard))))
    peer.on("connectionstatechange", lambda: _tell(state=peer.connectionState))
    described = with_events if "digits" in sys.argv else str
    if "answers" not in sys.argv:
        await peer.setLocalDescription(await peer.createOffer())
        _tell(offer=described(peer.localDescription.sdp))
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        words = json.loads(line)
        if "offer" in words:
            await peer.setRemoteDescription(RTCSessionDescription(words["offer"], "offer"))
            await peer.setLocalDescription(await peer.createAnswer())
            _tell(answered=described(peer.localDescription.sdp))
        elif "answer" in words:
            await peer.setRemoteDescription(RTCSessionDescription(words["answer"], "answer"))
        elif "candidate" in words:
            candidate = candidate_from_sdp(words["candidate"].removeprefix("candidate:"))
            candidate.sdpMid = words["mid"]
            await peer.addIceCandidate(candidate)
        elif "report" in words:
            heard.clear()
            await asyncio.sleep(words["report"] / 1000)
            sound = np.concatenate([np.zeros(0, np.int16), *heard])
            _tell(tones=tones_of(sound, RATE_HZ), level=level_db(sound), frames=len(heard))
        elif "press" in words:
            digits.press(words["press"])
        elif "pressed" in words:
            _tell(digits=digits.heard)
        else:
            break
    await peer.close()
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(_main())
