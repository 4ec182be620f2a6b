"""S15-S18 at WebRTC legs: STUN, DTLS and SRTP of strangers, and what was heard played back.

Two peers talk in a room; whatever strangers send to the ports of their legs, both go on hearing each other,
and nobody else is answered.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
import struct
import time
import urllib.request
import zlib
from dataclasses import dataclass, field
from random import Random

import numpy as np
from aioice import ice
from aiortc import RTCPeerConnection, RTCSessionDescription

from conformance.peers.measure import tones_of
from conformance.peers.webrtc_process import FRAME, RATE_HZ, Tone, listen
from fuzz.attack.briefing import Address, Briefing, check, figure

S15, S16 = "S15 SRTP and SRTCP of strangers, and replayed", "S16 DTLS from elsewhere"
S17, S18 = "S17 STUN floods", "S18 a peer that vanishes"
COOKIE = 0x2112A442
PITCHES_HZ = (500.0, 900.0)
PACE_PER_S = 2000
STRANGERS = 4
FILLED = 0.7
"""Of a window; the rest is for a machine that has others to serve."""
ROOM = "fuzz-webrtc"


@dataclass
class Caller:
    """One peer of ours.

    Attributes:
        port: of its leg at the server.
        ufrag: of the leg.
        sent: some of the SRTP that it has sent.
    """

    peer: RTCPeerConnection
    leg_id: str
    port: Address
    ufrag: str
    heard: list[np.ndarray] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def hears(self, for_s: float) -> tuple[list[int], float]:
        """The tones of a window that begins now, and how much of it was filled."""
        self.heard.clear()
        await asyncio.sleep(for_s)
        sound = np.concatenate([np.zeros(0, np.int16), *self.heard])
        return tones_of(sound[-RATE_HZ:], RATE_HZ), len(self.heard) * FRAME / RATE_HZ / for_s


def run(briefing: Briefing) -> None:
    """Attack the legs of two peers of our own."""
    ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    asyncio.run(_run(briefing))


async def _run(briefing: Briefing) -> None:
    callers = [await _call(briefing.http, pitch_hz) for pitch_hz in PITCHES_HZ]
    try:
        await _until_connected(callers)
        await _attack(briefing, callers)
    finally:
        for caller in callers:
            for task in caller.tasks:
                task.cancel()
            await asyncio.to_thread(_ask, briefing.http, "DELETE", f"/v1/legs/{caller.leg_id}")
            await caller.peer.close()


async def _attack(briefing: Briefing, callers: list[Caller]) -> None:
    random = Random(briefing.seed)
    strangers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(STRANGERS)]
    for sock in strangers:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
    dropped = _dropped(await asyncio.to_thread(_ask, briefing.http, "GET", "/metrics"))
    for_s = 2.0 if briefing.quick else 6.0
    for case, make in ((S17, _stun), (S16, _dtls), (S15, _srtp)):
        listening = asyncio.gather(*(caller.hears(for_s) for caller in callers))
        sent, size = await _spray(random, strangers, callers, make, for_s)
        figure(case, f"{sent} datagrams of {STRANGERS} strangers to {len(callers)} legs")
        for (tones, filled), other in zip(await listening, reversed(PITCHES_HZ), strict=True):
            near = len(tones) == 1 and abs(tones[0] - other) < 15
            check(case, near, f"a peer heard {tones}, not {other:g} Hz alone")
            check(case, filled > FILLED, f"a peer heard {filled:.0%} of the time")
        answers = [len(data) for sock in strangers for data in _received(sock)]
        check(case, not answers, f"strangers got {len(answers)} datagrams, {sum(answers)} bytes for {size}")
    states = [caller.peer.connectionState for caller in callers]
    check(S15, states == ["connected"] * len(callers), f"the connections are {states}")
    after = _dropped(await asyncio.to_thread(_ask, briefing.http, "GET", "/metrics"))
    for case, reason in ((S17, "stun"), (S16, "transport"), (S15, "unauthentic"), (S15, "replayed")):
        check(case, after[reason] > dropped[reason], f"no packet was counted as {reason}")
    for sock in strangers:
        sock.close()
    await _vanish(briefing)


async def _vanish(briefing: Briefing) -> None:
    """An offer whose peer never shows up: its leg is there, and it goes when it is told to."""
    peer = RTCPeerConnection()
    peer.addTrack(Tone(700.0))
    await peer.setLocalDescription(await peer.createOffer())
    offers = 5 if briefing.quick else 40
    legs = set()
    for _ in range(offers):
        body = json.dumps({"sdp": peer.localDescription.sdp}).encode()
        answer = json.loads(await asyncio.to_thread(_ask, briefing.http, "POST", "/v1/webrtc/offer", body))
        legs.add(answer["leg_id"])
        await asyncio.to_thread(_ask, briefing.http, "DELETE", f"/v1/legs/{answer['leg_id']}")
    left = json.loads(await asyncio.to_thread(_ask, briefing.http, "GET", "/v1/legs"))
    check(S18, not legs & {leg["id"] for leg in left}, "legs of it are left")
    figure(S18, f"{offers} offers of a peer that never came")
    await peer.close()


async def _call(http: Address, pitch_hz: float) -> Caller:
    peer = RTCPeerConnection()
    peer.addTrack(Tone(pitch_hz))
    caller = Caller(peer, "", ("", 0), "")
    peer.on("track", lambda track: caller.tasks.append(asyncio.ensure_future(listen(track, caller.heard))))
    await peer.setLocalDescription(await peer.createOffer())
    body = json.dumps({"sdp": peer.localDescription.sdp}).encode()
    answer = json.loads(await asyncio.to_thread(_ask, http, "POST", "/v1/webrtc/offer", body))
    lines = answer["sdp"].splitlines()
    words = next(line for line in lines if line.startswith("a=candidate")).split()
    caller.leg_id, caller.port = answer["leg_id"], (words[4], int(words[5]))
    caller.ufrag = next(line.partition(":")[2] for line in lines if line.startswith("a=ice-ufrag"))
    joined = json.dumps({"leg_id": caller.leg_id}).encode()
    await asyncio.to_thread(_ask, http, "POST", f"/v1/rooms/{ROOM}/legs", joined)
    _record(peer, caller.sent)
    await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
    return caller


def _record(peer: RTCPeerConnection, sent: list[bytes]) -> None:
    """Keep some of what a peer sends, as somebody on its network would."""
    transport = peer.getSenders()[0].transport.transport
    send = transport._send

    async def keep(data: bytes) -> None:
        if data[0] >> 6 == 2 and len(sent) < 500:
            sent.append(data)
        await send(data)

    transport._send = keep


async def _until_connected(callers: list[Caller]) -> None:
    deadline = time.monotonic() + 20
    while any(caller.peer.connectionState != "connected" or len(caller.heard) < 25 for caller in callers):
        if time.monotonic() > deadline:
            check(S17, False, f"the peers are {[caller.peer.connectionState for caller in callers]}")
            return
        await asyncio.sleep(0.1)


async def _spray(random: Random, strangers, callers, make, for_s: float) -> tuple[int, int]:  # type: ignore[no-untyped-def]
    began, sent, size = time.monotonic(), 0, 0
    while (now := time.monotonic()) < began + for_s:
        caller = random.choice(callers)
        for data in make(random, caller):
            try:
                random.choice(strangers).sendto(data, caller.port)
            except OSError:
                continue
            sent, size = sent + 1, size + len(data)
        await asyncio.sleep(max(0.0, began + sent / PACE_PER_S - now))
    return sent, size


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) & 3)


def _signed(head: bytes, body: bytes, key: bytes) -> bytes:
    """A STUN message with integrity and fingerprint."""
    kind, tid = head[:2], head[4:]
    covered = kind + struct.pack("!H", len(body) + 24) + tid + body
    body += _attribute(8, hmac.new(key, covered, hashlib.sha1).digest())
    whole = kind + struct.pack("!H", len(body) + 8) + tid + body
    return whole + _attribute(0x8028, struct.pack("!I", zlib.crc32(whole) ^ 0x5354554E))


def _stun(random: Random, caller: Caller) -> list[bytes]:
    """Binding requests without a signature, with a wrong one, for others, and damaged ones."""
    head = struct.pack("!HHI", 1, 0, COOKIE) + random.randbytes(12)
    named = _attribute(6, f"{caller.ufrag}:abcd".encode()) + _attribute(0x24, struct.pack("!I", 1 << 24))
    named += _attribute(0x802A, random.randbytes(8)) + _attribute(0x25, b"")
    good = _signed(head, named, random.randbytes(24))
    success = _signed(struct.pack("!HHI", 0x101, 0, COOKIE) + head[8:], _attribute(0x20, bytes(8)), b"key")
    return [
        head, good, _signed(head, _attribute(6, b"nobody:abcd"), b"key"), good[: random.randrange(len(good))],
        head[:2] + struct.pack("!H", len(named)) + head[4:] + named,
        success, head[:2] + b"\xff\xfc" + head[4:] + random.randbytes(1200),
        struct.pack("!HHI", 0x11, 0, COOKIE) + random.randbytes(12), bytes(20), b"\x00\x01",
        good + random.randbytes(3), head + _attribute(0x24, random.randbytes(60)) * 20,
    ]  # fmt: skip


def _dtls(random: Random, caller: Caller) -> list[bytes]:
    """Hellos whole, in pieces and damaged, alerts, and records of other kinds and sizes."""
    body = b"\xfe\xfd" + random.randbytes(32) + b"\x00\x00\x00\x02\x00\x02\x01\x00"
    hello = b"\x01" + len(body).to_bytes(3) + bytes(5) + len(body).to_bytes(3) + body
    piece = b"\x01" + (60_000).to_bytes(3) + bytes(2) + random.randbytes(3) + (200).to_bytes(3) + bytes(200)

    def record(kind: int, data: bytes, epoch: int = 0) -> bytes:
        head = struct.pack("!BHH", kind, 0xFEFD, epoch) + random.randbytes(6)
        return head + struct.pack("!H", len(data)) + data

    return [
        record(22, hello), record(22, piece), record(22, hello[:20]), record(21, b"\x02\x28"),
        record(21, b"\x01\x00", 1), record(20, b"\x01"), record(23, random.randbytes(100), 1),
        record(22, b"") * 80, b"\x16\xfe\xfd", record(63, random.randbytes(1300)), b"\x14",
    ]  # fmt: skip


def _srtp(random: Random, caller: Caller) -> list[bytes]:
    """What the peer has sent once more, the same with a changed bit, and inventions."""
    found = []
    for data in random.sample(caller.sent, min(6, len(caller.sent))):
        changed = bytearray(data)
        changed[random.randrange(2, len(changed))] ^= 1 << random.randrange(8)
        found += [data, bytes(changed), data[: random.randrange(len(data))]]
    head = struct.pack("!BBHII", 0x80, 96, random.getrandbits(16), random.getrandbits(32), 7)
    return [
        *found, head + random.randbytes(100), head, b"\x90" + head[1:] + b"\xbe\xde\xff\xff",
        struct.pack("!BBHI", 0x81, 203, 1, 7) + random.randbytes(20), b"\x80\xc8\x00\x01", b"\x80",
        struct.pack("!BBHI", 0x80, 201, 1, 7), head + random.randbytes(1900),
    ]  # fmt: skip


def _received(sock: socket.socket) -> list[bytes]:
    found: list[bytes] = []
    while True:
        try:
            found.append(sock.recv(65536))
        except ConnectionRefusedError:
            continue
        except BlockingIOError:
            return found


def _ask(http: Address, method: str, path: str, body: bytes | None = None) -> bytes:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(
        f"http://{http[0]}:{http[1]}{path}", data=body, method=method, headers=headers
    )
    with urllib.request.urlopen(request, timeout=20) as reply:
        answer: bytes = reply.read()
    return answer


def _dropped(page: bytes) -> dict[str, float]:
    """What the server says of dropped packets of WebRTC legs, by reason."""
    found = {}
    for line in page.decode().splitlines():
        name, _, value = line.partition(" ")
        if name.startswith('voiceblender_webrtc_dropped{reason="'):
            found[name.split('"')[1]] = float(value)
    return found
