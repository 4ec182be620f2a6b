"""Pipecat's clients of speech services are the judge of ours: what they work with is like the real thing."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from conformance.peers.certificates import Authority
from conformance.peers.stt_service import KEY as TRANSCRIPTS_KEY
from conformance.peers.stt_service import SttService, open_stt_service
from conformance.peers.voice_services import KEY, open_voice_services
from conformance.peers.voice_streams import VoiceStreams, open_voice_streams
from interop.report import NotRun, Report, run_peer

SESSION_S = 180
INTERPRETER = "INTEROP_PIPECAT"
NEEDED = "pipecat.services.elevenlabs.tts, pipecat.services.deepgram.stt"
ROOT = Path(__file__).parent.parent


async def find_interpreter() -> str:
    """Find a Python that has Pipecat.

    Raises:
        NotRun: there is none.
    """
    python = os.environ.get(INTERPRETER, sys.executable)  # noqa: TID251 - says where a peer is, sets nothing of vb
    try:
        done = await trio.run_process(
            [python, "-c", f"import {NEEDED}"], capture_stdout=True, capture_stderr=True, check=False
        )
    except OSError as error:
        raise NotRun(f"{INTERPRETER}: {python}: {error.strerror}") from None
    if done.returncode:
        want = "pip install 'pipecat-ai[websocket,deepgram,elevenlabs]==1.14.0'"
        raise NotRun(f"no Pipecat in {python}: {want} somewhere, and name its Python in {INTERPRETER}")
    return python


@asynccontextmanager
async def secure(service: SttService, authority: Authority) -> AsyncIterator[str]:
    """The same service over TLS; yields host and port."""
    context = authority.server_context("localhost")
    async with trio.open_nursery() as nursery:
        (plain,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        listener = trio.SSLListener(plain, context)
        await nursery.start(trio.serve_listeners, service.serve, [listener])
        yield f"localhost:{plain.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def _session(report: Report, python: str, places: list[str], roots: Path) -> bool:
    command = [python, "-m", "interop.pipecat_session", *places]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SSL_CERT_FILE": str(roots)}  # noqa: TID251 - a subprocess keeps PATH and the like
    with trio.move_on_after(SESSION_S):
        done = await trio.run_process(
            command, capture_stdout=True, capture_stderr=True, check=False, env=environment, cwd=ROOT
        )
        for line in done.stdout.splitlines():
            if line.startswith(b'{"holds"'):
                said = json.loads(line)
                report.check(said["holds"], said["what"], said["detail"])
        trouble = done.stderr.decode(errors="replace")[-1500:]
        return report.check(done.returncode == 0, "the session ran to its end", trouble)
    return report.check(False, f"the session ran to its end within {SESSION_S} s")


def _check_streams(report: Report, streams: VoiceStreams) -> None:
    """Each client that interrupts was understood as one that does."""
    for path, name in (("multi-stream-input", "ElevenLabs"), ("/v1/speak", "Deepgram")):
        talks = [each.talk for each in streams.connections if each.path.endswith(path)]
        cleared = [talk.cleared for talk in talks if talk is not None]
        report.check(sum(cleared) == 1, f"{name}: one interruption was understood", cleared)


async def run(report: Report) -> None:
    """Run every client against our services.

    Raises:
        NotRun: Pipecat is not installed.
    """
    python = await find_interpreter()
    with tempfile.TemporaryDirectory(prefix="interop-pipecat-") as name:
        authority = Authority(Path(name))
        async with (
            open_voice_streams() as streams,
            open_voice_services() as voices,
            open_stt_service() as transcripts,
            secure(transcripts, authority) as secured,
        ):
            ports = (streams.port, voices.port, transcripts.port)
            places = [*(f"127.0.0.1:{port}" for port in ports), secured, KEY, TRANSCRIPTS_KEY]
            if await _session(report, python, places, authority.ca_file):
                _check_streams(report, streams)


def main() -> int:
    """Run the session."""
    report = Report("pipecat_speech")
    run_peer(report, run)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
