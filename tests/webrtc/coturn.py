"""coturn on loopback, and a TURN client on a real socket, for the tests that meet them."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.webrtc.network import seeded
from vb.webrtc.stun import Address
from vb.webrtc.turn import TurnClient, TurnEvent

USER, PASSWORD = "caller", "pass word"


@contextmanager
def coturn(folder: Path, identity: tuple[Path, Path] | None = None) -> Iterator[int]:
    """Runs coturn; the value is its port for UDP and TCP, or that for TLS.

    Args:
        folder: of its files.
        identity: certificate and key, for TLS.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["turnserver", "-n", "-a", "-u", f"{USER}:{PASSWORD}", "-r", "example.org"]
    command += ["-p", str(port if identity is None else port - 1)]
    command += ["-L", "127.0.0.1", "-E", "127.0.0.1", "--allow-loopback-peers", "--no-dtls"]
    if identity is None:
        command += ["--no-tls"]
    else:
        command += ["--tls-listening-port", str(port), "--cert", str(identity[0]), "--pkey", str(identity[1])]
    command += ["--no-cli", "--log-file", "stdout", "--pidfile", str(folder / "pid"), "--no-rfc5780"]
    command += ["--db", str(folder / "db"), "-m", "1", "--stale-nonce", "600"]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
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
