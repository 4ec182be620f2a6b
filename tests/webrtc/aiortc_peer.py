"""An independent WebRTC peer in a process of its own: aiortc on loopback, spoken to in lines of JSON.

Lines in: `{"sdp", "type"}` or `{"candidate"}` or `{"close": true}`. Lines out: its description, then each
state of its connection, then what it has heard. Started with `offer` or `answer` and the pitch of its tone.
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
        await asyncio.sleep(max(0.0, self._began + self._at / RATE_HZ - time.monotonic()))
        angles = 2 * np.pi * self._pitch_hz * (np.arange(FRAME) + self._at) / RATE_HZ
        frame = AudioFrame.from_ndarray((8000 * np.sin(angles)).astype(np.int16)[None], layout="mono")
        frame.sample_rate = RATE_HZ
        frame.pts = self._at
        frame.time_base = fractions.Fraction(1, RATE_HZ)
        self._at += FRAME
        return frame


def tell(**words: object) -> None:
    print(json.dumps(words), flush=True)


async def listen(track: MediaStreamTrack, heard: list[np.ndarray]) -> None:
    while True:
        frame = await track.recv()
        assert isinstance(frame, AudioFrame)
        heard.append(frame.to_ndarray().reshape(-1)[:: len(frame.layout.channels)])


def pitch_hz(heard: list[np.ndarray]) -> float:
    """Returns the strongest frequency in the last second."""
    sound = np.concatenate([np.zeros(1), *heard[-50:]])
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(sound.size)))
    return float(np.argmax(spectrum)) * RATE_HZ / sound.size


async def main() -> None:
    ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    offers, pitch = sys.argv[1] == "offer", float(sys.argv[2])
    peer = RTCPeerConnection()
    peer.addTrack(Tone(pitch))
    heard: list[np.ndarray] = []
    tasks: list[asyncio.Task[None]] = []
    peer.on("track", lambda track: tasks.append(asyncio.ensure_future(listen(track, heard))))
    peer.on("connectionstatechange", lambda: tell(state=peer.connectionState))
    loop = asyncio.get_running_loop()
    if offers:
        await peer.setLocalDescription(await peer.createOffer())
        tell(sdp=peer.localDescription.sdp)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        words = json.loads(line)
        if "sdp" in words:
            await peer.setRemoteDescription(RTCSessionDescription(words["sdp"], words["type"]))
            if not offers:
                await peer.setLocalDescription(await peer.createAnswer())
                tell(sdp=peer.localDescription.sdp)
        elif "candidate" in words:
            candidate = candidate_from_sdp(words["candidate"])
            candidate.sdpMid = words["mid"]
            await peer.addIceCandidate(candidate)
        elif "report" in words:
            tell(pitch_hz=pitch_hz(heard), frames=len(heard))
        else:
            break
    await peer.close()
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
