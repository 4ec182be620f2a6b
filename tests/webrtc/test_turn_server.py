"""The client against coturn, over UDP and over TCP, on loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.webrtc.network import seeded
from vb.webrtc.stun import Address
from vb.webrtc.turn import Allocated, Permitted, TurnClient, TurnEvent, TurnFailed

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("turnserver") is None, reason="coturn is not installed"),
]

USER, PASSWORD = "caller", "pass word"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[int]:
    """Runs coturn; the value is its port for UDP and TCP."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["turnserver", "-n", "-a", "-u", f"{USER}:{PASSWORD}", "-r", "example.org", "-p", str(port)]
    command += ["-L", "127.0.0.1", "-E", "127.0.0.1", "--allow-loopback-peers", "--no-tls", "--no-dtls"]
    command += ["--no-cli", "--log-file", "stdout", "--pidfile", str(tmp_path / "pid"), "--no-rfc5780"]
    command += ["--db", str(tmp_path / "db"), "-m", "1", "--stale-nonce", "600"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path
    ) as process:
        try:
            _wait_for(port)
            yield port
        finally:
            process.kill()


def _wait_for(port: int) -> None:
    give_up = time.monotonic() + 15
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            assert time.monotonic() < give_up, "coturn does not start"
            _pause()
        else:
            return


def _pause() -> None:
    """Waits a moment for another process."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.settimeout(0.05)
        try:
            nobody.recv(1)
        except TimeoutError:
            pass


class Link:
    """A client with its socket, driven by the real clock."""

    def __init__(self, port: int, *, stream: bool, password: str = PASSWORD, family: int = 4) -> None:
        kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
        self.socket = socket.socket(socket.AF_INET, kind)
        self.socket.connect(("127.0.0.1", port))
        self.client = TurnClient(
            username=USER,
            password=password,
            random_bytes=seeded(time.monotonic_ns()),
            stream=stream,
            family=family,
        )
        self.told: list[TurnEvent] = []
        self.heard: list[tuple[Address, bytes]] = []

    def flush(self) -> None:
        for data in self.client.outgoing():
            self.socket.sendall(data)

    def until(self, condition: Callable[[], object]) -> None:
        give_up = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < give_up, self.told
            self.flush()
            self.socket.settimeout(0.2)
            try:
                data = self.socket.recv(65_536)
            except TimeoutError:
                pass
            else:
                self.heard += self.client.receive(data, time.monotonic())
            self.client.expire(time.monotonic())
            self.told += self.client.events()
        self.flush()


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
