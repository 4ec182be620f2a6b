"""tshark's RTP analysis of a call beside the quality that vb reports for it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import trio

from interop.application import Application, Rule, application
from interop.jitter import RtpArrival, running_jitter_ms
from interop.processes import end, reaped
from interop.report import NotRun, Report, run_peer
from interop.rtp_sender import Pattern, send_stream
from interop.server import Server, running_server
from interop.sipp_runner import Load, check_counts, find_sipp, free_udp_port, run_sipp
from interop.waiting import Waited, watched

PATTERN = Pattern(packets=400, drop_every=33)
SECONDS = 10.0
JITTER_SHARE = 0.05
"""How far the jitter that vb reports may be from that of the capture."""
ROUNDED_MS = 0.005
"""vb gives hundredths of a millisecond."""
LEAST_JITTER_MS = 6.0
CAPTURE_S = 20.0
READ_S = 0.5
"""The server reads what has come at its next tick."""
MAX_GAP_MS = 60.0
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
    min_jitter_ms: float
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
                min_jitter_ms=figures[3],
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

    A second port is captured as well: what we send to it shows that the capture has begun, and that it is
    complete up to the end of the block.

    Raises:
        NotRun: this user may not capture.
    """
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as probe:
        await probe.bind(("127.0.0.1", 0))
        ports = f"udp port {port} or udp port {probe.getsockname()[1]}"
        command = [find_tshark(), "-i", "lo", "-f", ports, "-w", str(path), "-q"]
        process = await trio.lowlevel.open_process(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert process.stderr is not None
        said = bytearray()
        async with reaped(process), trio.open_nursery() as nursery:
            nursery.start_soon(_collect, process.stderr, said)
            if not await _seen(probe, path, b"the capture has begun", process):
                raise NotRun(f"tshark cannot capture: {said.decode(errors='replace').strip()[-200:]}")
            yield
            await _seen(probe, path, b"the capture is complete", process)
            await end(process, CAPTURE_S)
            nursery.cancel_scope.cancel()


async def _collect(stream: trio.abc.ReceiveStream, into: bytearray) -> None:
    async for chunk in stream:
        into += chunk


def _holds(path: Path, mark: bytes) -> bool:
    return path.exists() and mark in path.read_bytes()


async def _seen(probe: trio.socket.SocketType, path: Path, mark: bytes, process: trio.Process) -> bool:
    """Send a mark until it is in the capture; False when it never is."""
    with trio.move_on_after(CAPTURE_S):
        while process.poll() is None:
            await probe.sendto(mark, probe.getsockname())
            await trio.sleep(0.1)
            if _holds(path, mark):
                return True
    return False


async def read_streams(path: Path, port: int) -> list[Stream]:
    """Let tshark analyse a capture."""
    command = [find_tshark(), "-r", str(path), "-d", f"udp.port=={port},rtp", "-q", "-z", "rtp,streams"]
    done = await trio.run_process(command, capture_stdout=True, stderr=subprocess.DEVNULL)
    return parse_streams(done.stdout.decode())


async def read_arrivals(path: Path, port: int) -> list[RtpArrival]:
    """Let tshark say when each packet from that port was captured, and its RTP timestamp."""
    fields = [part for name in ("frame.time_epoch", "rtp.timestamp") for part in ("-e", name)]
    command = [
        find_tshark(),
        "-r",
        str(path),
        "-d",
        f"udp.port=={port},rtp",
        "-Y",
        f"rtp && udp.srcport=={port}",
    ]
    done = await trio.run_process(
        [*command, "-T", "fields", *fields], capture_stdout=True, stderr=subprocess.DEVNULL
    )
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    return [RtpArrival(Decimal(at), int(timestamp)) for at, timestamp in rows]


def serve_call(sent: trio.Event) -> Rule:
    """Answer, play a tone so that audio flows both ways, hang up after the pattern."""

    async def rule(app: Application, leg_id: str) -> None:
        await app.command("answer_leg", id=leg_id)
        if await app.wait_for(leg_id, "leg.connected") is not None:
            await app.command("leg_play_start", id=leg_id, tone="us_dial")
            await trio.sleep(SECONDS)
            with trio.move_on_after(SECONDS):  # a busy machine sends late
                await sent.wait()
                await trio.sleep(READ_S)
            await app.command("delete_leg", id=leg_id)

    return rule


async def _call(
    report: Report, server: Server, folder: Path, sock: trio.socket.SocketType, all_sent: trio.Event
) -> None:
    port = sock.getsockname()[1]

    async def signalling() -> None:
        load = Load(1, 1, 30)
        counts = await run_sipp(
            "media", load, folder, target=server, user="media", keys=(("rtp_port", str(port)),)
        )
        check_counts(report, "signalling", load, counts)

    async with capture(folder / "call.pcap", port), trio.open_nursery() as nursery:
        nursery.start_soon(signalling)
        with trio.move_on_after(2 * SECONDS):
            sent = await send_stream(sock, PATTERN)
            all_sent.set()
            report.equal(sent, PATTERN.packets - PATTERN.lost, "packets sent")


def compare_jitter(
    report: Report, stream: Stream, arrivals: Sequence[RtpArrival], reported_ms: object
) -> None:
    """Compare the jitter that vb reports with that of the capture, both as of the last packet.

    tshark tells least, mean and most of its jitter after each packet but the first, not the last value. So
    the same series is computed from the capture: it must have tshark's figures to the digit, and its end is
    what vb must say.
    """
    series = running_jitter_ms(arrivals)
    ours = (min(series), sum(series) / len(series), max(series))
    theirs = (stream.min_jitter_ms, stream.mean_jitter_ms, stream.max_jitter_ms)
    report.check(
        all(abs(a - b) <= 0.001 for a, b in zip(ours, theirs, strict=True)),
        "the capture's jitter after each packet is tshark's: least, mean and most",
        f"computed {ours}, tshark {theirs}",
    )
    last_ms = series[-1]
    report.check(last_ms >= LEAST_JITTER_MS, f"at least {LEAST_JITTER_MS:g} ms of jitter to compare", last_ms)
    holds = (
        isinstance(reported_ms, int | float)
        and abs(reported_ms - last_ms) <= JITTER_SHARE * last_ms + ROUNDED_MS
    )
    what = f"jitter within {JITTER_SHARE:.0%} of the {last_ms:.3f} ms after the last captured packet"
    report.check(holds, f"{what}: {reported_ms}", f"mean {theirs[1]} ms")


def compare(
    report: Report,
    streams: list[Stream],
    arrivals: Sequence[RtpArrival],
    quality: Mapping[str, object],
    port: int,
    waited: Waited,
) -> None:
    """Compare both measurements of the stream to vb, and judge the stream that vb sends.

    For the time that the server waited for a CPU it can send nothing.
    """
    ours = [stream for stream in streams if stream.source_port == port]
    theirs = [stream for stream in streams if stream.source_port != port]
    if report.equal((len(ours), len(theirs)), (1, 1), "one stream each way"):
        to_server, from_server = ours[0], theirs[0]
        report.equal(quality.get("rtp_packets_received"), to_server.packets, "packets received, as in tshark")
        report.equal(quality.get("rtp_packets_lost"), to_server.lost, "packets lost, as in tshark")
        report.equal(to_server.lost, PATTERN.lost, "packets left out on purpose")
        compare_jitter(report, to_server, arrivals, quality.get("rtp_jitter_ms"))
        report.equal(from_server.lost, 0, "packets lost on the way back")
        report.check("711" in from_server.payload, "the way back is G.711", from_server.payload)
        wanted = int((SECONDS - waited.total_s) / 0.020 * 0.95)
        report.check(from_server.packets >= wanted, f"at least {wanted} packets back", from_server.packets)
        gap_ms = MAX_GAP_MS + 1000 * waited.longest_s
        report.check(
            from_server.max_delta_ms < gap_ms,
            f"no gap of {gap_ms:.0f} ms on the way back",
            from_server.max_delta_ms,
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
        folder, all_sent = Path(name), trio.Event()
        await sock.bind(("127.0.0.1", free_udp_port()))
        async with (
            running_server(folder) as server,
            application(server.vsi_url, {"media": serve_call(all_sent)}) as app,
        ):
            async with watched(server.pid) as waited:
                await _call(report, server, folder, sock, all_sent)
            await app.wait(lambda: bool(app.of("media", "leg.disconnected")), 15)
            ends = app.of("media", "leg.disconnected")
            quality = ends[0].get("quality") if ends else None
            report.equal(app.failures, [], "no command failed")
        port = sock.getsockname()[1]
        if report.check(isinstance(quality, Mapping), "leg.disconnected brings a quality", ends):
            assert isinstance(quality, Mapping)
            pcap = folder / "call.pcap"
            compare(
                report, await read_streams(pcap, port), await read_arrivals(pcap, port), quality, port, waited
            )


def main() -> int:
    """Run the comparison."""
    report = Report("media")
    run_peer(report, run)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
