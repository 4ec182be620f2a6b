"""Start `vb serve` as a subprocess on free loopback ports and stop it again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from interop.processes import end, reaped
from interop.report import ServerFailed

START_S = 20.0
STOP_S = 15.0


@dataclass(frozen=True, slots=True)
class Server:
    """Where a running server listens."""

    http_url: str
    sip_host: str
    sip_port: int
    pid: int

    @property
    def rest_url(self) -> str:
        """The base of every REST path, without a slash at the end."""
        return f"{self.http_url}/v1"

    @property
    def vsi_url(self) -> str:
        """The WebSocket address of the event stream."""
        return f"{self.http_url.replace('http', 'ws', 1)}/v1/vsi"

    def sip_uri(self, user: str) -> str:
        """A URI on this server."""
        return f"sip:{user}@{self.sip_host}:{self.sip_port}"


def _parse_addresses(line: bytes) -> tuple[str, str, int] | None:
    """The HTTP URL and the first UDP address of the line that `vb serve` prints, None for any other line."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    if (
        not isinstance(value, dict)
        or not isinstance(value.get("http"), str)
        or not isinstance(value.get("sip"), list)
    ):
        return None
    for address in value["sip"]:
        transport, _, rest = str(address).partition(":")
        host, _, port = rest.rpartition(":")
        if transport == "udp":
            return value["http"], host.strip("[]"), int(port)
    raise ServerFailed(f"no UDP address in {line!r}")


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-1500:]


async def _read_addresses(process: trio.Process, log: Path) -> tuple[str, str, int]:
    assert process.stdout is not None
    pending = b""
    with trio.move_on_after(START_S):
        async for chunk in process.stdout:
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                found = _parse_addresses(line)
                if found is not None:
                    return found
    raise ServerFailed(f"no address line (exit status {process.poll()}): {_tail(log)}")


async def _save(stream: trio.abc.ReceiveStream, path: Path) -> None:
    """Keep the server's standard output from filling up; what it says may explain a failure."""
    with path.open("wb") as file:
        async for chunk in stream:
            file.write(chunk)


@asynccontextmanager
async def running_server(folder: Path, settings: Mapping[str, str] | None = None) -> AsyncIterator[Server]:
    """A server for the time of the block; its log goes to `folder`/server.log.

    Raises:
        ServerFailed: it did not start, or its exit status after SIGTERM was not 0.
    """
    environment = {
        **os.environ,  # noqa: TID251 - a subprocess keeps PATH and the like
        "HTTP_ADDR": "127.0.0.1:0",
        "SIP_BIND_IP": "127.0.0.1",
        "SIP_PORT": "0",
        "SIP_CODECS": "PCMU,PCMA,G722,opus",
        "RTP_PORT_MIN": "0",
        "RTP_PORT_MAX": "0",
        "RECORDING_DIR": str(folder / "recordings"),
        "VB_DATA_DIR": str(folder / "data"),
        **(settings or {}),
    }
    with (folder / "server.log").open("wb") as log:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "vb", "serve"], env=environment, stdout=subprocess.PIPE, stderr=log
        )
    assert process.stdout is not None
    async with reaped(process):
        http_url, host, port = await _read_addresses(process, folder / "server.log")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_save, process.stdout, folder / "server.out")
            yield Server(http_url=http_url, sip_host=host, sip_port=port, pid=process.pid)
            await end(process, STOP_S)
            nursery.cancel_scope.cancel()
    if process.returncode != 0:
        trouble = f"exit status {process.returncode} after SIGTERM, wanted 0 within {STOP_S:g} s"
        raise ServerFailed(f"{trouble}: {_tail(folder / 'server.log')}")
