"""tshark's RTP analysis of a call beside the quality that vb reports for it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from interop.application import Application, application
from interop.report import NotRun, Report, run_peer
from interop.rtp_sender import Pattern, send_stream
from interop.server import Server, running_server
from interop.sipp_runner import Load, check_counts, find_sipp, free_udp_port, run_sipp

PATTERN = Pattern(packets=400, drop_every=33)
SECONDS = 10.0
_ROW = re.compile(
    r"(?P<source>\S+)\s+(?P<source_port>\d+)\s+(?P<target>\S+)\s+(?P<target_port>\d+)\s+(?P<ssrc>0x[0-9A-Fa-f]+)\s+"
    r"(?P<payload>.*?)\s+(?P<packets>\d+)\s+(?P<lost>-?\d+)\s+\((?P<share>[-\d.]+)%\)\s+(?P<figures>[-\d.\s]+)"
)


@dataclass(frozen=True, slots=True)
class Stream:
    """One row of tshark's table; times in milliseconds."""

    source_port: int
    payload: str
    packets: int
    lost: int
    max_delta_ms: float
    mean_jitter_ms: float
    max_jitter_ms: float


def parse_streams(table: str) -> list[Stream]:
    """The streams of `tshark -z rtp,streams` (its 4.x table: min, mean and max of delta, then of jitter)."""
    streams = []
    for row in _ROW.finditer(table):
        figures = [float(figure) for figure in row["figures"].split()]
        streams.append(
            Stream(
                source_port=int(row["source_port"]),
                payload=row["payload"].strip(),
                packets=int(row["packets"]),
                lost=int(row["lost"]),
                max_delta_ms=figures[2],
                mean_jitter_ms=figures[4],
                max_jitter_ms=figures[5],
            )
        )
    return streams


def find_tshark() -> str:
    """The path of tshark.

    Raises:
        NotRun: it is not installed.
    """
    path = shutil.which("tshark")
    if path is None:
        raise NotRun("tshark is not installed (Debian, Ubuntu: apt install tshark)")
    return path


@asynccontextmanager
async def capture(path: Path, port: int) -> AsyncIterator[None]:
    """Capture one UDP port of the loopback interface for the time of the block.

    Raises:
        NotRun: this user may not capture.
    """
    command = [find_tshark(), "-i", "lo", "-f", f"udp port {port}", "-w", str(path), "-q"]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = b""
    try:
        with trio.move_on_after(15):
            while b"Capturing on" not in said:
                chunk = await process.stderr.receive_some()
                if not chunk:
                    break
                said += chunk
        if b"Capturing on" not in said or process.poll() is not None:
            raise NotRun(f"tshark cannot capture: {said.decode(errors='replace').strip()[-200:]}")
        await trio.sleep(1)  # the message comes before the first packet can be taken
        yield
        await trio.sleep(1)  # packets still in the capture's buffer
        process.terminate()
        with trio.move_on_after(10):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            with trio.move_on_after(5, shield=True):
                await process.wait()


async def read_streams(path: Path, port: int) -> list[Stream]:
    """Let tshark analyse a capture."""
    command = [find_tshark(), "-r", str(path), "-d", f"udp.port=={port},rtp", "-q", "-z", "rtp,streams"]
    done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.DEVNULL)
    return parse_streams(done.stdout.decode())


async def serve_call(app: Application, leg_id: str) -> None:
    """Answer, play a tone so that audio flows both ways, hang up after the pattern."""
    await app.command("answer_leg", id=leg_id)
    if await app.wait_for(leg_id, "leg.connected") is not None:
        await app.command("leg_play_start", id=leg_id, tone="us_dial")
        await trio.sleep(SECONDS)
        await app.command("delete_leg", id=leg_id)


async def _call(report: Report, server: Server, folder: Path, sock: trio.socket.SocketType) -> None:
    port = sock.getsockname()[1]

    async def signalling() -> None:
        load = Load(1, 1, 30)
        counts = await run_sipp(
            "media", load, folder, target=server, user="media", keys=(("rtp_port", str(port)),)
        )
        check_counts(report, "signalling", load, counts)

    async with capture(folder / "call.pcap", port), trio.open_nursery() as nursery:
        nursery.start_soon(signalling)
        with trio.move_on_after(SECONDS + 10):
            sent = await send_stream(sock, PATTERN)
            report.equal(sent, PATTERN.packets - PATTERN.lost, "packets sent")


def compare(report: Report, streams: list[Stream], quality: Mapping[str, object], port: int) -> None:
    """Compare both measurements of the stream to vb, and judge the stream that vb sends."""
    ours = [stream for stream in streams if stream.source_port == port]
    theirs = [stream for stream in streams if stream.source_port != port]
    if report.equal((len(ours), len(theirs)), (1, 1), "one stream each way"):
        to_server, from_server = ours[0], theirs[0]
        report.equal(quality.get("rtp_packets_received"), to_server.packets, "packets received, as in tshark")
        report.equal(quality.get("rtp_packets_lost"), to_server.lost, "packets lost, as in tshark")
        report.equal(to_server.lost, PATTERN.lost, "packets left out on purpose")
        jitter_ms = quality.get("rtp_jitter_ms")
        report.check(
            isinstance(jitter_ms, int | float) and abs(jitter_ms - to_server.mean_jitter_ms) <= 1.5,
            f"jitter within 1.5 ms of tshark's mean of {to_server.mean_jitter_ms} ms",
            jitter_ms,
        )
        report.equal(from_server.lost, 0, "packets lost on the way back")
        report.check("711" in from_server.payload, "the way back is G.711", from_server.payload)
        wanted = int(SECONDS / 0.020 * 0.95)
        report.check(from_server.packets >= wanted, f"at least {wanted} packets back", from_server.packets)
        report.check(
            from_server.max_delta_ms < 60, "no gap of 60 ms on the way back", from_server.max_delta_ms
        )


async def run(report: Report) -> None:
    """One call, captured and compared.

    Raises:
        NotRun: SIPp or tshark is missing, or may not capture.
    """
    find_sipp()
    find_tshark()
    with (
        tempfile.TemporaryDirectory(prefix="interop-media-") as name,
        trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as sock,
    ):
        folder = Path(name)
        await sock.bind(("127.0.0.1", free_udp_port()))
        async with (
            running_server(folder) as server,
            application(server.vsi_url, {"media": serve_call}) as app,
        ):
            await _call(report, server, folder, sock)
            await app.wait(lambda: bool(app.of("media", "leg.disconnected")), 5)
            ends = app.of("media", "leg.disconnected")
            quality = ends[0].get("quality") if ends else None
            report.equal(app.failures, [], "no command failed")
        port = sock.getsockname()[1]
        if report.check(isinstance(quality, Mapping), "leg.disconnected brings a quality", ends):
            assert isinstance(quality, Mapping)
            compare(report, await read_streams(folder / "call.pcap", port), quality, port)


def main() -> int:
    """Run the comparison."""
    report = Report("media")
    run_peer(report, run)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
