"""Run Kamailio on loopback, and read what it says about every message that it takes in."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import trio

from interop.proxy_config import IDLE_S, MARK, Ports, write_config
from interop.proxy_tls import Identities
from interop.report import NotRun, ServerFailed

START_S = 15.0
STOP_S = 5.0
CATCH_UP_S = 5.0
_PORTS = range(20_000, 30_000)
_TLS_MODULES = tuple(f"{lib}/kamailio/modules/tls.so" for lib in ("lib", "lib64", "lib/*"))
_PROBE = (
    "OPTIONS sip:probe@127.0.0.1:{port} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bK{name}\r\n"
    "Max-Forwards: 1\r\nFrom: <sip:probe@127.0.0.1>;tag=1\r\nTo: <sip:probe@127.0.0.1>\r\n"
    "Call-ID: {name}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """One message as it came in at the proxy.

    Attributes:
        kind: "request" or "reply".
        what: method or status.
        transport: udp, tcp or tls.
        source: where it came from.
        connection: the proxy's number of the TCP or TLS connection, "" over UDP.
        uri: the Request-URI; of a reply the method that it answers.
        route: the topmost Route header; of a reply its topmost Via.
        size: its length in bytes.
    """

    kind: str
    what: str
    transport: str
    source: str
    connection: str
    call_id: str
    cseq: int
    uri: str
    route: str
    size: int


def _read(line: str) -> Seen | None:
    _, mark, rest = line.partition(f"{MARK}|")
    fields = ["" if field == "<null>" else field for field in rest.strip().split("|")]
    if not mark or len(fields) != 10:
        return None
    kind, what, transport, source, connection, call_id, cseq, uri, route, size = fields
    return Seen(
        kind, what, transport.lower(), source, connection, call_id, int(cseq or 0), uri, route, int(size)
    )


def find_kamailio() -> str:
    """The path of Kamailio.

    Raises:
        NotRun: it, or its TLS module, is not installed.
    """
    path = shutil.which("kamailio") or shutil.which("kamailio", path="/usr/sbin:/usr/local/sbin")
    if path is None:
        raise NotRun("kamailio is not installed (Debian, Ubuntu: apt install kamailio kamailio-tls-modules)")
    if not any(path for pattern in _TLS_MODULES for path in Path("/usr").glob(pattern)):
        raise NotRun(
            "Kamailio's TLS module is not installed (Debian, Ubuntu: apt install kamailio-tls-modules)"
        )
    return path


def free_port() -> int:
    """A port on loopback that nobody uses at this moment, neither for TCP nor for UDP.

    It lies below those that the system gives to outgoing connections, so that none of them takes it.
    """
    for port in random.sample(_PORTS, 50):
        with socket.socket() as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            try:
                stream.bind(("127.0.0.1", port))
                datagrams.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerFailed("no free port for Kamailio")


def free_ports() -> Ports:
    """Different ports for a proxy."""
    found: set[int] = set()
    while len(found) < len(fields(Ports)):
        found.add(free_port())
    return Ports(*found)


class Kamailio:
    """One instance; it can be killed and started again on the same ports.

    Attributes:
        seen: every message that came in, in the order of its log.
    """

    def __init__(
        self, folder: Path, ports: Ports, identities: Identities, nursery: trio.Nursery, idle_s: int
    ) -> None:
        folder.mkdir()
        self.ports = ports
        self.seen: list[Seen] = []
        self._folder = folder
        self._log = folder / "kamailio.log"
        self._nursery = nursery
        self._config = write_config(folder, ports, identities, idle_s=idle_s)
        self._process: trio.Process | None = None
        self._news = trio.Event()
        self._probes = 0

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            ServerFailed: it does not.
        """
        options = ("-DD", "-E", "-m", "32", "-M", "4", "-w", str(self._folder), "-Y", str(self._folder))
        process = await trio.lowlevel.open_process(
            [find_kamailio(), "-f", str(self._config), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._process = process
        self._nursery.start_soon(self._listen, process)
        with trio.move_on_after(START_S):
            while process.poll() is None:
                if await self._answers("start"):
                    return
        tail = self._log.read_text(errors="replace")[-1500:] if self._log.exists() else ""
        raise ServerFailed(f"Kamailio does not answer (exit status {process.poll()}): {tail}")

    async def catch_up(self) -> None:
        """Wait until `seen` has everything that came in before this moment.

        Each message is logged before it is dealt with, and the log is one pipe: what is in it before a probe
        has been read when the probe has.
        """
        self._probes += 1
        name = f"probe{self._probes}"
        with trio.move_on_after(CATCH_UP_S):
            while not await self._answers(name):
                pass
            await self.wait(lambda: bool(self.of_call(name)))

    async def _answers(self, name: str) -> bool:
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as probe:
            await probe.bind(("127.0.0.1", 0))
            await probe.connect(("127.0.0.1", self.ports.plain))
            text = _PROBE.format(port=self.ports.plain, own=probe.getsockname()[1], name=name)
            try:
                await probe.send(text.encode())
                with trio.move_on_after(0.3):
                    return (await probe.recv(4096)).startswith(b"SIP/2.0 200")
            except OSError:
                await trio.sleep(0.05)
        return False

    async def _listen(self, process: trio.Process) -> None:
        assert process.stderr is not None
        rest = b""
        with self._log.open("ab") as log:
            async for chunk in process.stderr:
                log.write(chunk)
                log.flush()
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    seen = _read(line.decode(errors="replace"))
                    if seen is not None:
                        self.seen.append(seen)
                news, self._news = self._news, trio.Event()
                news.set()

    async def kill(self) -> None:
        """End it and its workers at once, as a crash would; their connections break."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Ask it to end, and make it end."""
        await self._end(signal.SIGTERM)
        await self._end(signal.SIGKILL)

    async def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        os.killpg(process.pid, number)
        with trio.move_on_after(STOP_S, shield=True):
            await process.wait()

    def of_call(self, call_id: str, *what: str, kind: str = "request") -> list[Seen]:
        """The messages of one call, of some methods or statuses if given."""
        return [
            seen
            for seen in self.seen
            if seen.call_id == call_id and seen.kind == kind and (not what or seen.what in what)
        ]

    def to_user(self, user: str, *what: str) -> list[Seen]:
        """The requests whose Request-URI names a user, of some methods if given."""
        return [
            seen
            for seen in self.seen
            if seen.kind == "request" and f":{user}@" in seen.uri and (not what or seen.what in what)
        ]

    def call_id(self, user: str) -> str:
        """The Call-ID of the first INVITE to a user; "" if none has come."""
        invites = self.to_user(user, "INVITE")
        return invites[0].call_id if invites else ""

    async def wait(self, holds: Callable[[], bool], within_s: float = 5.0) -> bool:
        """Wait until a condition over `seen` holds; False when it did not in time."""
        with trio.move_on_after(within_s):
            while not holds():
                await self._news.wait()
        return holds()


@asynccontextmanager
async def running_kamailio(
    folder: Path, identities: Identities, *, idle_s: int = IDLE_S
) -> AsyncIterator[Kamailio]:
    """A proxy on free ports for the time of the block; its log is `folder`/kamailio.log.

    Raises:
        NotRun: it is not installed.
        ServerFailed: it does not start.
    """
    find_kamailio()
    async with trio.open_nursery() as nursery:
        kamailio = Kamailio(folder, free_ports(), identities, nursery, idle_s)
        try:
            await kamailio.start()
            yield kamailio
        finally:
            with trio.CancelScope(shield=True):
                await kamailio.stop()
        nursery.cancel_scope.cancel()
