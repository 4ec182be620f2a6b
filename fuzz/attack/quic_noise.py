"""Q1–Q4: what strangers and peers send to the port of WebTransport, while two programs talk over it."""

from __future__ import annotations

import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from random import Random

import numpy as np
import trio
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import H3Connection
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.tls import Epoch

from conformance.peers.measure import tones_of
from conformance.peers.moq_peer import RATE_HZ, SERVER_SETUP, SUBSCRIBE_OK, VERSION, MoqPeer, open_moq
from conformance.peers.payload import make_codec
from fuzz.attack.briefing import Address, Briefing, check, figure

Q1, Q2 = "Q1 QUIC garbage", "Q2 QUIC without an address"
Q3, Q4 = "Q3 half-open handshakes", "Q4 garbage of peers"
ROOM = "fuzz-quic"
PITCHES_HZ = (520, 940)
PACE_PER_S = 2000
FILLED = 0.9
MAX_WAITED_S = 0.15
MAX_SKIPPED = 5
"""Whoever gets no CPU, here or in the server, breaks the audio by himself: then it says nothing."""
MAX_HALF_OPEN = 64
SETTLED_S = 45.0
_SKIPPED = "ticks_skipped"
OPEN_S = 3.0
_PATHS = (b"/v1/legs/moq?room_id=%00", b"/", b"/\xc3\xa9", b"/v1/legs/moq?x=" + b"y" * 900)


def run(briefing: Briefing) -> None:
    """Attack the listener, if the server has one."""
    if briefing.moq is None:
        figure(Q1, "the server has no WebTransport listener")
        return
    trio.run(_run, briefing, briefing.moq)


async def _run(briefing: Briefing, address: Address) -> None:
    chance, quick = Random(briefing.seed), briefing.quick
    async with (
        open_moq(address, f"room_id={ROOM}") as one,
        open_moq(address, f"room_id={ROOM}") as other,
        trio.open_nursery() as nursery,
    ):
        pairs = list(zip((one, other), PITCHES_HZ, reversed(PITCHES_HZ), strict=True))
        for peer, own_hz, _ in pairs:
            await _ready(peer)
            nursery.start_soon(peer.talk, own_hz)
        await trio.sleep(1.0)
        attacks: tuple[tuple[str, Callable[[Random, Address, bool], None]], ...] = (
            (Q1, _garbage),
            (Q2, _flood),
            (Q3, _half_open),
            (Q4, _hostile_peers),
        )
        clock = _Clock()
        nursery.start_soon(clock.run)
        before = _figures(briefing.http)
        for case, attack in attacks:
            await _until_zero(briefing.http, "quic_handshakes")
            marks = [len(peer.objects) for peer, _, _ in pairs]
            began, clock.longest_s, skipped = time.monotonic(), 0.0, _figures(briefing.http)[_SKIPPED]
            await trio.to_thread.run_sync(attack, chance, address, quick)
            await trio.sleep(1.0)
            took_s, after = time.monotonic() - began, _figures(briefing.http)
            if clock.longest_s < MAX_WAITED_S and after[_SKIPPED] - skipped < MAX_SKIPPED:
                for (peer, _, heard_hz), mark in zip(pairs, marks, strict=True):
                    _judge(case, peer, mark, heard_hz, took_s)
            else:
                figure(case, f"audio not judged: waited {clock.longest_s * 1000:.0f} ms for a CPU")
            changed = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key)}
            figure(case, ", ".join(f"{key} {value:+.0f}" for key, value in changed.items()))
            check(case, after["quic_sessions"] == len(pairs), f"{after['quic_sessions']} sessions")
            check(case, after["quic_handshakes"] <= MAX_HALF_OPEN, f"{after['quic_handshakes']} handshakes")
            before = after
        nursery.cancel_scope.cancel()
    left = await _until_zero(briefing.http, "quic_connections")
    check(Q4, not left, f"{left:.0f} connections are left")


async def _until_zero(http: Address, name: str) -> float:
    """Wait until a figure is zero; returns it if that takes too long."""
    deadline = time.monotonic() + SETTLED_S
    while (left := _figures(http)[name]) and time.monotonic() < deadline:  # noqa: ASYNC110
        await trio.sleep(0.5)
    return left


class _Clock:
    """Tells how late this process is at most."""

    longest_s = 0.0

    async def run(self) -> None:
        """Look every 20 ms."""
        while True:
            due = trio.current_time() + 0.02
            await trio.sleep_until(due)
            self.longest_s = max(self.longest_s, trio.current_time() - due)


async def _ready(peer: MoqPeer) -> None:
    peer.set_up(VERSION)
    await peer.message(SERVER_SETUP)
    peer.ask(b"audio", alias=1)
    await peer.message(SUBSCRIBE_OK)
    await peer.until(lambda: b"audio" in peer.wanted)


def _judge(case: str, peer: MoqPeer, mark: int, heard_hz: float, took_s: float) -> None:
    """Say whether a program heard the other one all the while."""
    codec = make_codec("opus")
    heard = sorted(peer.objects[mark:], key=lambda item: (item.group, item.number))
    filled = len(heard) / 50 / took_s
    check(case, filled > FILLED, f"a program heard {filled:.0%} of the time")
    places = [50 * item.group + item.number for item in heard]
    check(case, len(set(places)) == places[-1] - places[0] + 1, "a program missed objects")
    for begin in range(0, len(heard) - 50, 50):
        second = np.concatenate([codec.decode(item.payload) for item in heard[begin : begin + 50]])
        found = tones_of(second, RATE_HZ)
        if not (len(found) == 1 and abs(found[0] - heard_hz) < 15):
            check(case, False, f"a program heard {found}, not {heard_hz} Hz alone")
            return


# -- strangers ---------------------------------------------------------------------------------------------


def _client(address: Address) -> QuicConnection:
    configuration = QuicConfiguration(
        is_client=True, alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE, max_datagram_frame_size=65536
    )
    client = QuicConnection(configuration=configuration)
    client.connect(address, time.monotonic())
    return client


def _first(address: Address) -> bytes:
    """What a client begins with."""
    return _client(address).datagrams_to_send(time.monotonic())[0][0]


def _spray(address: Address, datagrams: Iterator[bytes], sockets: int = 8) -> tuple[int, int, int]:
    """Send datagrams from several ports at a pace; returns how many, and bytes out and back."""
    strangers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(sockets)]
    began, sent, out, back = time.monotonic(), 0, 0, 0
    for sock in strangers:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
    for data in datagrams:
        sock = strangers[sent % sockets]
        try:
            sock.sendto(data, address)
        except OSError:
            pass
        sent, out = sent + 1, out + len(data)
        back += sum(map(len, _received(sock)))
        time.sleep(max(0.0, began + sent / PACE_PER_S - time.monotonic()))  # noqa: TID251 - a thread
    time.sleep(0.2)  # noqa: TID251
    back += sum(len(data) for sock in strangers for data in _received(sock))
    for sock in strangers:
        sock.close()
    return sent, out, back


def _received(sock: socket.socket) -> list[bytes]:
    found = []
    try:
        while True:
            found.append(sock.recv(65536))
    except OSError:
        return found


def _garbage(chance: Random, address: Address, quick: bool) -> None:
    """Bytes, damaged and cut first datagrams, versions that there are not, answers that nobody asked for."""
    initial = _first(address)

    def datagrams() -> Iterator[bytes]:
        for _ in range(2000 if quick else 20_000):
            kind = chance.randrange(5)
            if kind == 0:
                yield chance.randbytes(chance.randrange(1, 1500))
                continue
            data = bytearray(initial)
            if kind == 1:
                for _ in range(chance.randrange(1, 8)):
                    data[chance.randrange(60)] = chance.randrange(256)
            elif kind == 2:
                del data[chance.randrange(len(data)) :]
            elif kind == 3:
                data[1:5] = chance.choice([bytes(4), b"\x0a\x1a\x2a\x3a", b"\x00\x00\x00\x02", b"Q050"])
            else:
                data[0] = chance.choice([0xD0, 0xE0, 0xF0, 0x40, 0x80])
            yield bytes(data)

    sent, out, back = _spray(address, datagrams())
    figure(Q1, f"{sent} datagrams, {out} bytes; {back} bytes back")
    check(Q1, back < out / 2, f"strangers got {back} bytes for {out}")


def _flood(chance: Random, address: Address, quick: bool) -> None:
    """First datagrams whose senders never answer, as from addresses that are not theirs."""

    def datagrams() -> Iterator[bytes]:
        firsts = [_first(address) for _ in range(20)]
        for _ in range(4000 if quick else 40_000):
            data = bytearray(chance.choice(firsts))
            data[6:14] = chance.randbytes(8)
            yield bytes(data)

    sent, out, back = _spray(address, datagrams(), sockets=200)
    figure(Q2, f"{sent} first datagrams, {out} bytes; {back} bytes back")
    check(Q2, back < out / 3, f"strangers got {back} bytes for {out}")


def _half_open(chance: Random, address: Address, quick: bool) -> None:
    """Clients that prove their address and say no more; their datagrams again, from elsewhere too."""
    greetings, open_sockets = [], []
    for _ in range(100 if quick else 400):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.5)
        client = _client(address)
        sock.sendto(client.datagrams_to_send(time.monotonic())[0][0], address)
        try:
            client.receive_datagram(sock.recv(65536), address, time.monotonic())
        except OSError:
            sock.close()
            continue
        data = client.datagrams_to_send(time.monotonic())[0][0]
        sock.sendto(data, address)
        greetings.append(data)
        open_sockets.append(sock)
    for sock, data in zip(open_sockets, greetings, strict=True):
        for _ in range(3):
            sock.sendto(data, address)
        sock.close()
    sent, _, back = _spray(address, iter(greetings * 3))
    figure(Q3, f"{len(greetings)} handshakes that stop, their datagrams {sent} times from elsewhere")
    check(Q3, back < sent * 200, f"tokens of others got {back} bytes")


# -- peers -------------------------------------------------------------------------------------------------


class _Peer:
    """A client with a handshake that is as it should be, and nothing else."""

    def __init__(self, address: Address) -> None:
        self.quic = _client(address)
        self.is_open = False
        self._address = address
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self._sock.settimeout(0.02)

    def turn(self, for_s: float) -> None:
        """Send and receive for a while."""
        until = time.monotonic() + for_s
        while time.monotonic() < until:
            for data, _ in self.quic.datagrams_to_send(time.monotonic()):
                self._sock.sendto(data, self._address)
            try:
                self.quic.receive_datagram(self._sock.recv(65536), self._address, time.monotonic())
            except OSError:
                timer = self.quic.get_timer()
                if timer is not None and time.monotonic() >= timer:
                    self.quic.handle_timer(time.monotonic())
            while (event := self.quic.next_event()) is not None:
                self.is_open |= isinstance(event, events.HandshakeCompleted)

    def send_raw(self, payload: bytes) -> None:
        """Send a packet whose frames are any bytes."""
        number, self.quic._packet_number = self.quic._packet_number, self.quic._packet_number + 1
        head = b"\x41" + self.quic._peer_cid.cid + (number & 0xFFFF).to_bytes(2)
        crypto = self.quic._cryptos[Epoch.ONE_RTT]
        self._sock.sendto(crypto.encrypt_packet(head, payload + bytes(20), number), self._address)

    def close(self) -> None:
        self._sock.close()


def _hostile_peers(chance: Random, address: Address, quick: bool) -> None:
    """Frames, streams and requests that are wrong, of clients whose handshake was right."""
    opened = 0
    for number in range(20 if quick else 200):
        peer = _Peer(address)
        until = time.monotonic() + OPEN_S
        while not peer.is_open and time.monotonic() < until:
            peer.turn(0.05)
        if peer.is_open:
            opened += 1
            (_bad_frames, _bad_streams, _bad_requests)[number % 3](chance, peer)
        peer.close()
    figure(Q4, f"{opened} peers with garbage")
    check(Q4, opened > 5, "hardly a handshake came about")


def _bad_frames(chance: Random, peer: _Peer) -> None:
    for _ in range(20):
        peer.send_raw(chance.randbytes(chance.randrange(1, 200)))
    far = encode_uint_var(2) + encode_uint_var(1 << chance.randrange(10, 60)) + b"\x01x"
    peer.send_raw(b"\x0e" + far)
    peer.turn(0.05)


def _bad_streams(chance: Random, peer: _Peer) -> None:
    for _ in range(20):
        stream = peer.quic.get_next_available_stream_id(is_unidirectional=chance.random() < 0.5)
        head = chance.choice([b"", b"\x40\x54\x00", b"\x40\x41\x00", b"\x00\x04", b"\x01", b"\x02", b"\x03"])
        peer.quic.send_stream_data(
            stream, head + chance.randbytes(chance.randrange(300)), chance.random() < 0.5
        )
        peer.turn(0.01)


def _bad_requests(chance: Random, peer: _Peer) -> None:
    http = H3Connection(peer.quic, enable_webtransport=True)
    for _ in range(15):
        stream = peer.quic.get_next_available_stream_id()
        headers = [
            (b":method", chance.choice([b"CONNECT", b"GET", b"POST", b"\xff"])),
            (b":scheme", b"https"),
            (b":authority", chance.choice([b"localhost", b"\xff\xfe", b"[::"])),
            (b":path", chance.choice(_PATHS)),
            *([(b":protocol", b"webtransport")] if chance.random() < 0.5 else []),
            (b"x-noise", chance.randbytes(40).hex().encode()),
        ]
        http.send_headers(stream, headers, end_stream=chance.random() < 0.5)
        peer.turn(0.01)


def _figures(http: Address) -> dict[str, float]:
    """What the metrics say of QUIC."""
    request = urllib.request.Request(f"http://{http[0]}:{http[1]}/metrics")
    with urllib.request.urlopen(request, timeout=20) as reply:
        page = reply.read().decode()
    found = {}
    for line in page.splitlines():
        if line.startswith(("voiceblender_quic_", f"voiceblender_{_SKIPPED} ")):
            name, _, value = line.rpartition(" ")
            key = name.removeprefix("voiceblender_").replace('{reason="', " ").replace('{kind="', " ")
            found[key.replace('"}', "")] = float(value)
    return found
