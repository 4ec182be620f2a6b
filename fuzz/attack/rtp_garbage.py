"""S12-S15: strangers at the media ports of live calls: the calls must not notice, and nobody is answered."""

from __future__ import annotations

import socket
import struct
import time
from random import Random

from fuzz.attack.briefing import Address, Briefing, check, figure, pause

S12, S13 = "S12 RTP from strangers", "S13 RTP bleed"
S14, S15 = "S14 broken RTP", "S15 RTCP spoofs"
STRANGERS = 6
PACE_PER_S = 2500
SWEEP_PER_S = 5000
SWEEP_S = 10.0


def packets(random: Random) -> list[bytes]:
    """Broken and suspicious RTP."""
    head = struct.pack(
        "!BBHII", 0x80, 0, random.getrandbits(16), random.getrandbits(32), random.getrandbits(32)
    )
    load = random.randbytes(160)
    return [
        b"", b"\x80", b"\x00", b"\xff" * 3, head[:11], head, head + load, head + load[:1],
        b"\x90" + head[1:] + b"\xbe\xde\xff\xff" + load, b"\x90" + head[1:], b"\x90" + head[1:] + b"\x00",
        b"\xa0" + head[1:] + load[:-1] + b"\xff", b"\xa0" + head[1:] + load[:-1] + b"\x00",
        b"\xa0" + head[1:],
        b"\x8f" + head[1:] + load[:20], b"\x40" + head[1:] + load, b"\xc0" + head[1:] + load,
        b"\x80\xff" + head[2:] + load,
        b"\x80\x65" + head[2:] + b"\x01\x8a\x03\x20", b"\x80\x65" + head[2:] + b"\xff",
        b"\x80\x6f" + head[2:] + random.randbytes(80),
        head + load * 9, head + bytes(60_000), random.randbytes(random.randint(1, 1500)),
    ]  # fmt: skip


def jumps(random: Random) -> list[bytes]:
    """Well-formed RTP that makes no stream: each packet of another source, place and time, and digits."""
    found = []
    for _ in range(60):
        place, at, source = random.getrandbits(16), random.getrandbits(32), random.getrandbits(32)
        kind = random.choice([0, 0, 8, 101, 111, 127])
        load = struct.pack("!BBH", random.randrange(16), 0x8A, 800) if kind == 101 else random.randbytes(160)
        found.append(struct.pack("!BBHII", 0x80, kind, place, at, source) + load)
    return found


def rtcp(random: Random, ssrc: int) -> list[bytes]:
    """RTCP that ends, redirects or confuses a session, and broken RTCP."""
    report = struct.pack("!BBHI", 0x81, 200, 12, ssrc) + random.randbytes(44)
    goodbye = struct.pack("!BBHI", 0x81, 203, 1, ssrc)
    return [
        goodbye, report + goodbye, struct.pack("!BBHI", 0x80, 201, 1, ssrc) + goodbye, b"\x80\xcb\xff\xff",
        b"\x9f\xcb\x00\x00",
        b"\x80\xc8", report[:20], struct.pack("!BBH", 0x81, 202, 65535), b"\x81\xce\x00\x02" + bytes(8),
        random.randbytes(60),
    ]  # fmt: skip


def run(briefing: Briefing) -> None:
    """Spray the live media ports, then sweep all that the server may give away."""
    random = Random(briefing.seed)
    strangers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(STRANGERS)]
    for sock in strangers:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
    targets = [call.media for call in briefing.live]
    broken, spoofs = _spray(random, strangers, targets, 2.0 if briefing.quick else 8.0)
    figure(S14, f"{broken} broken packets from {STRANGERS} strangers to {len(targets)} live ports")
    figure(S15, f"{spoofs} goodbyes, reports and broken RTCP of theirs to both ports of each")
    check(S15, spoofs > 0, "nothing was sent")
    sent = _inject(strangers, targets, 1.5 if briefing.quick else 5.0)
    figure(S12, f"{sent} well-formed packets of one stream per stranger, at ten times the pace")
    first, last = briefing.rtp_ports
    sent = _sweep(strangers[0], targets[0][0], range(first, last + 1))
    figure(S13, f"{sent} ports swept, {first} to {last}")
    check(S13, sent == last + 1 - first, f"only {sent} ports from {first} to {last} swept in {SWEEP_S:g} s")
    pause(0.3)
    heard = [source for sock in strangers for source in _received(sock)]
    check(S13, not heard, f"strangers got {len(heard)} packets back, from {sorted(set(heard))[:5]}")
    for sock in strangers:
        sock.close()


def _send(sock: socket.socket, data: bytes, target: Address) -> None:
    try:
        sock.sendto(data, target)
    except OSError:
        pass


def _spray(
    random: Random, strangers: list[socket.socket], targets: list[Address], for_s: float
) -> tuple[int, int]:
    """Send what is no stream; returns how much of it was RTP, and how much RTCP."""
    began, broken, spoofs = time.monotonic(), 0, 0
    while time.monotonic() < began + for_s:
        host, port = random.choice(targets)
        sock = random.choice(strangers)
        for data in packets(random):
            _send(sock, data, (host, port))
            broken += 1
        for data in rtcp(random, random.getrandbits(32)):
            _send(sock, data, (host, port + 1))
            _send(sock, data, (host, port))
            spoofs += 2
        pause(max(0.0, began + (broken + spoofs) / PACE_PER_S - time.monotonic()))
    return broken, spoofs


def _inject(strangers: list[socket.socket], targets: list[Address], for_s: float) -> int:
    """A steady stream in sequence, as somebody who wants to be learnt would send it."""
    began, sent = time.monotonic(), 0
    while time.monotonic() < began + for_s:
        for index, sock in enumerate(strangers):
            head = struct.pack("!BBHII", 0x80, 0, sent & 0xFFFF, sent * 160, 0x1000 + index)
            for target in targets:
                _send(sock, head + b"\x00\x80" * 80, target)
        sent += 1
        pause(0.002)
    return sent * len(strangers) * len(targets)


def _sweep(sock: socket.socket, host: str, ports: range) -> int:
    """One packet to every port, for as long as there is time; returns how many ports there was time for."""
    head = struct.pack("!BBHII", 0x80, 0, 1, 160, 7)
    began = time.monotonic()
    for done, port in enumerate(ports):
        if time.monotonic() > began + SWEEP_S:
            return done
        _send(sock, head + bytes(160), (host, port))
        pause(began + done / SWEEP_PER_S - time.monotonic())
    return len(ports)


def _received(sock: socket.socket) -> list[Address]:
    """Where everything came from that a socket has received."""
    sources: list[Address] = []
    while True:
        try:
            sources.append(sock.recvfrom(65536)[1])
        except ConnectionRefusedError:
            continue
        except BlockingIOError:
            return sources
