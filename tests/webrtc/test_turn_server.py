"""The client against coturn, over UDP and over TCP, on loopback."""

from __future__ import annotations

import select
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.webrtc.coturn import Link, coturn
from tests.webrtc.test_session import Side, exchange
from vb.webrtc.candidate import local_candidate
from vb.webrtc.session import Connected
from vb.webrtc.stun import Address
from vb.webrtc.turn import Allocated, Permitted, TurnFailed

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("turnserver") is None, reason="coturn is not installed"),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[int]:
    """Runs coturn; the value is its port for UDP and TCP."""
    with coturn(tmp_path) as port:
        yield port


@pytest.mark.parametrize("stream", [False, True], ids=["udp", "tcp"])
def test_coturn_relays_by_indications_and_by_a_channel(server: int, stream: bool) -> None:
    link = Link(server, stream=stream)
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with link.socket, peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(5)
        address: Address = peer.getsockname()
        link.client.start(time.monotonic())
        link.until(lambda: link.told)
        (allocated,) = link.told
        assert isinstance(allocated, Allocated)
        assert allocated.mapped == link.socket.getsockname()
        assert link.client.permit("127.0.0.1", time.monotonic())
        link.until(lambda: Permitted("127.0.0.1") in link.told)
        for turn in range(2):
            for size in (1, 2, 3, 1200):
                payload = bytes([turn]) * size
                link.socket.sendall(link.client.wrap(address, payload) or b"")
                assert peer.recvfrom(2048) == (payload, allocated.relayed)
                peer.sendto(payload + b"!", allocated.relayed)
                link.until(lambda: link.heard)
                assert link.heard == [(address, payload + b"!")]
                link.heard.clear()
            assert link.client.bind(address, time.monotonic())
            link.until(lambda: (link.client.wrap(address, b"") or b"\0")[0] == 0x40)
        link.client.close(time.monotonic())
        link.flush()
    assert link.client.dropped == 0


def test_coturn_refuses_a_wrong_password(server: int) -> None:
    link = Link(server, stream=False, password="wrong")
    with link.socket:
        link.client.start(time.monotonic())
        link.until(lambda: link.told)
    assert link.told == [TurnFailed(401, "allocate refused")]


@pytest.mark.parametrize("stream", [False, True], ids=["udp", "tcp"])
def test_a_session_connects_over_a_relay_alone(server: int, stream: bool) -> None:
    link = Link(server, stream=stream)
    direct = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with link.socket, direct:
        direct.bind(("127.0.0.1", 0))
        address: Address = direct.getsockname()
        link.client.start(time.monotonic())
        link.until(lambda: link.client.relayed)
        relayed = link.client.relayed
        assert relayed is not None
        ours, theirs = Side(0, None, controlling=True), Side(1, address, controlling=False)
        candidate = local_candidate("relay", relayed, related=link.socket.getsockname())
        ours.candidates.append(candidate)
        ours.session.add_local(candidate, relayed)
        assert link.client.permit("127.0.0.1", time.monotonic())
        exchange(ours, theirs, time.monotonic())
        give_up = time.monotonic() + 10
        while not (ours.told and theirs.told):
            assert time.monotonic() < give_up
            for data, _, destination in ours.outgoing():
                wrapped = link.client.wrap(destination, data)
                if wrapped is not None:
                    link.socket.sendall(wrapped)
            for data, _, destination in theirs.outgoing():
                direct.sendto(data, destination)
            link.flush()
            ready, _, _ = select.select([link.socket, direct], [], [], 0.02)
            now = time.monotonic()
            if link.socket in ready:
                for peer, data in link.client.receive(link.socket.recv(65_536), now):
                    ours.receive(data, peer, relayed, now)
            if direct in ready:
                data, source = direct.recvfrom(2048)
                theirs.receive(data, source, address, now)
            for side in (ours, theirs):
                side.expire(now)
        here, there = ours.told[0], theirs.told[0]
        assert isinstance(here, Connected)
        assert isinstance(there, Connected)
        assert (here.source, here.remote) == (relayed, address)
        assert (there.source, there.remote) == (address, relayed)
        assert here.keys.send == there.keys.receive
