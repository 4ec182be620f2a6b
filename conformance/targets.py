"""The server under test: started here with a fresh environment, or running somewhere already."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import trio

from conformance.expect import Difference

ROOT = Path(__file__).parent.parent
Address = tuple[str, int]
SECRET = "conformance-secret"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
FAULT = b"Traceback (most recent call last)"
MAX_LOG_BYTES = 50 << 20


@dataclass
class Target:
    """Where the server is and what this suite may assume about it."""

    http: Address
    sip: dict[str, Address]
    moq: Address | None = None
    recording_dir: Path | None = None
    webhook_secret: str | None = None
    token: str | None = None
    process: trio.Process | None = None
    log: bytearray = field(default_factory=bytearray)
    env: dict[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What every HTTP request needs: a token, where the server asks for one."""
        token = self.token or self.env.get("VB_API_TOKENS", "").split(",")[0]
        return (("Authorization", f"Bearer {token}"),) if token else ()

    @property
    def url(self) -> str:
        return f"http://{self.http[0]}:{self.http[1]}"

    @property
    def vsi_url(self) -> str:
        return f"ws://{self.http[0]}:{self.http[1]}/v1/vsi"

    def sip_address(self, transport: str = "udp", *, ipv6: bool = False) -> Address:
        """The bound address of a transport and family.

        Raises:
            Difference: when the server does not listen there.
        """
        address = self.sip.get(f"{transport}6" if ipv6 else transport)
        if address is None:
            raise Difference("target", f"a SIP listener {transport}{' on IPv6' if ipv6 else ''}", self.sip)
        return address

    def has_crashed(self) -> bool:
        """Whether a server that we started is gone."""
        return self.process is not None and self.process.returncode is not None

    def faults(self) -> int:
        """How many traces of unhandled faults the server has written so far."""
        return self.log.count(FAULT)

    def log_problem(self) -> str | None:
        """The last trace of an unhandled fault in the server's output."""
        marker = self.log.rfind(FAULT)
        return None if marker < 0 else bytes(self.log[marker : marker + 4000]).decode("utf-8", "replace")

    async def stop(self, within_s: float = STOP_TIMEOUT_S) -> int:
        """Ends the server with SIGTERM and returns its exit code.

        Raises:
            Difference: when it does not end in time (it is killed then).
        """
        assert self.process is not None
        if self.process.returncode is None:
            os.kill(self.process.pid, signal.SIGTERM)
        with trio.move_on_after(within_s):
            return await self.process.wait()
        self.process.kill()
        await self.process.wait()
        raise Difference("server", f"exit within {within_s} s of SIGTERM", "still running")


def command() -> list[str]:
    """How the server of this checkout is started, in ROOT.

    The script beside the interpreter would start the checkout that the environment was made for, which may be
    another one where several share it.
    """
    return [sys.executable, "-m", "vb", "serve"]


def environment(home: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """A fresh environment: nothing is inherited but what the interpreter needs."""
    defaults = {
        "PATH": os.defpath,
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "INSTANCE_ID": "conformance",
        "HTTP_ADDR": "127.0.0.1:0",
        "SIP_PORT": "0",
        "SIP_BIND_IP": "127.0.0.1",
        "SIP_HOST": "voiceblender",
        "RTP_PORT_MIN": "0",
        "RTP_PORT_MAX": "0",
        "RECORDING_DIR": str(home / "recordings"),
        "VB_FETCH_ALLOW": "127.0.0.1/32",
        "VB_DATABASE_URL": "off",  # scenarios about the history set a folder of their own
    }
    merged = {**defaults, **settings}
    return {key: value for key, value in merged.items() if value != "(unset)"}


def _parse_address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def read_bound(line: bytes) -> tuple[Address, dict[str, Address], Address | None] | None:
    """The addresses from the line that the server prints once it is up; None for any other line."""
    try:
        bound = json.loads(line)
    except ValueError:
        return None
    if not isinstance(bound, dict) or "http" not in bound or "sip" not in bound:
        return None
    sip: dict[str, Address] = {}
    for entry in bound["sip"]:
        transport, _, address = str(entry).partition(":")
        host, port = _parse_address(address)
        sip[transport + ("6" if ":" in host else "")] = (host, port)
    parts = urlsplit(str(bound["http"]))
    moq = _parse_address(str(bound["moq"])) if "moq" in bound else None
    return (parts.hostname or "127.0.0.1", parts.port or 80), sip, moq


async def _drain(process: trio.Process, log: bytearray, up: trio.Event, found: list[Target]) -> None:
    assert process.stdout is not None
    pending = b""
    async for chunk in process.stdout:
        if len(log) < MAX_LOG_BYTES:
            log += chunk
        if up.is_set():
            continue
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            bound = read_bound(line)
            if bound is not None:
                found.append(Target(*bound))
                up.set()
    up.set()


@asynccontextmanager
async def started(
    home: Path, settings: Mapping[str, str], *, argv: list[str] | None = None
) -> AsyncIterator[Target]:
    """A server of our own while the block runs.

    Raises:
        Difference: when it does not come up.
    """
    await trio.Path(home).mkdir(parents=True, exist_ok=True)
    env = environment(home, settings)
    process = await trio.lowlevel.open_process(
        argv or command(),
        env=env,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    log, up, found = bytearray(), trio.Event(), list[Target]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_drain, process, log, up, found)
        try:
            with trio.move_on_after(START_TIMEOUT_S):
                await up.wait()
            if not found:
                raise Difference(
                    "start of the server",
                    "a JSON line with its addresses",
                    log[-3000:].decode("utf-8", "replace"),
                )
            target = found[0]
            target.recording_dir = Path(env["RECORDING_DIR"])
            target.webhook_secret = env.get("WEBHOOK_SECRET")
            target.process, target.log, target.env = process, log, env
            yield target
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + STOP_TIMEOUT_S + 5):
                if process.returncode is None:
                    os.kill(process.pid, signal.SIGTERM)
                with trio.move_on_after(STOP_TIMEOUT_S):
                    await process.wait()
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            nursery.cancel_scope.cancel()


async def run_to_end(home: Path, settings: Mapping[str, str], within_s: float = 15.0) -> tuple[int, str]:
    """Starts a server that is expected to refuse its settings; returns exit code and output.

    Raises:
        Difference: when it keeps running.
    """
    await trio.Path(home).mkdir(parents=True, exist_ok=True)
    with trio.move_on_after(within_s):
        result = await trio.run_process(
            command(),
            env=environment(home, settings),
            cwd=ROOT,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return result.returncode, result.stdout.decode("utf-8", "replace")
    raise Difference("server", f"exit at {dict(settings)}", "it runs")


def remote(
    url: str, sip: str, *, recordings: str | None = None, secret: str | None = None, token: str | None = None
) -> Target:
    """A server that runs already."""
    parts = urlsplit(url)
    return Target(
        http=(parts.hostname or "127.0.0.1", parts.port or 80),
        sip={"udp": _parse_address(sip)},
        recording_dir=Path(recordings) if recordings else None,
        webhook_secret=secret,
        token=token,
    )
