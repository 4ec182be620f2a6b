"""A bot made with the real Pipecat, as a program without a key: it hears, says tones, and tells what it saw.

Started by `interop.pipecat_calls` with an interpreter that has the package, so it imports nothing of this
project.
Each line on its standard input is a command, each line that it prints is something that has happened.
"""

from __future__ import annotations

import asyncio
import json
import math
import socket
import struct
import sys
from typing import Any

from loguru import logger
from pipecat.frames.frames import (
    CancelFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    TextFrame,
    TranscriptionFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.processors.frameworks.rtvi.frames import RTVISendTextFrame
from pipecat.serializers.protobuf import ProtobufFrameSerializer
from pipecat.transports.websocket.server import (
    SingleClientWebsocketServerParams,
    SingleClientWebsocketServerTransport,
)
from pipecat.workers.runner import WorkerRunner

IN_HZ = 16_000
OUT_HZ = 24_000
PIECE_S = 0.1


def tell(**fields: object) -> None:
    """Print what has happened."""
    print(json.dumps(fields), flush=True)


def loudness(samples: tuple[int, ...], hertz: float, rate_hz: int) -> float:
    """Return how loud a frequency is, of full scale."""
    step = 2 * math.pi * hertz / rate_hz
    real = sum(sample * math.cos(step * at) for at, sample in enumerate(samples))
    imaginary = sum(sample * math.sin(step * at) for at, sample in enumerate(samples))
    return 2 * math.hypot(real, imaginary) / len(samples) / 32768


class Bot(FrameProcessor):
    """The only processor of the pipeline, between the two halves of the transport."""

    def __init__(self) -> None:
        super().__init__()
        self._heard = b""
        self.rates: set[tuple[int, int]] = set()
        self.listens_for: list[float] = []
        self.seconds = 0.0

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Note a frame, and hand on all but the caller's audio."""
        await super().process_frame(frame, direction)
        match frame:
            case InputAudioRawFrame():
                self._hear(frame)
                return
            case InterruptionFrame():
                tell(saw="interruption")
            case RTVISendTextFrame():
                tell(saw="send-text", text=frame.text)
            case TextFrame() if type(frame) is TextFrame:
                tell(saw="text", text=frame.text)
            case CancelFrame():
                tell(saw="cancel")
        await self.push_frame(frame, direction)

    def listen(self, tones: list[float], seconds: float) -> None:
        """Tell how loud tones are in the next seconds."""
        self._heard, self.listens_for, self.seconds = b"", tones, seconds

    def _hear(self, frame: InputAudioRawFrame) -> None:
        self.rates.add((frame.sample_rate, frame.num_channels))
        if not self.listens_for:
            return
        self._heard += frame.audio
        if len(self._heard) >= self.seconds * IN_HZ * 2:
            samples = struct.unpack(f"<{len(self._heard) // 2}h", self._heard)
            levels = {str(hertz): loudness(samples, hertz, IN_HZ) for hertz in self.listens_for}
            tell(heard=levels, rates=sorted(self.rates))
            self.listens_for = []


def tone(hertz: float, seconds: float) -> bytes:
    """Return a tone."""
    steps = range(int(OUT_HZ * seconds))
    return b"".join(
        struct.pack("<h", round(8000 * math.sin(2 * math.pi * hertz * at / OUT_HZ))) for at in steps
    )


async def obey(bot: Bot, worker: PipelineWorker) -> None:
    """Carry out commands until there are no more."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command: dict[str, Any] = json.loads(line)
        match command["do"]:
            case "say":
                audio = tone(command["hertz"], command["seconds"])
                size = int(OUT_HZ * PIECE_S) * 2
                for at in range(0, len(audio), size):
                    piece = OutputAudioRawFrame(audio[at : at + size], OUT_HZ, 1)
                    await bot.push_frame(piece)
            case "interrupt":
                await bot.broadcast_interruption()
            case "listen":
                bot.listen(command["tones"], command["seconds"])
            case "transcribe":
                await bot.push_frame(TranscriptionFrame(command["text"], "", "2026-01-01T00:00:00Z"))
    await worker.cancel()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


async def main() -> None:
    """Serve until standard input ends."""
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    port = free_port()
    params = SingleClientWebsocketServerParams(
        audio_in_enabled=True,
        audio_out_enabled=True,
        audio_in_sample_rate=IN_HZ,
        audio_out_sample_rate=OUT_HZ,
        serializer=ProtobufFrameSerializer(),
    )
    transport = SingleClientWebsocketServerTransport(params=params, host="127.0.0.1", port=port)
    bot = Bot()
    worker = PipelineWorker(
        Pipeline([transport.input(), bot, transport.output()]),
        params=PipelineParams(audio_in_sample_rate=IN_HZ, audio_out_sample_rate=OUT_HZ),
        idle_timeout_secs=None,
    )

    @transport.event_handler("on_websocket_ready")
    async def ready(*_: object) -> None:
        tell(port=port)

    @transport.event_handler("on_client_connected")
    async def connected(*_: object) -> None:
        tell(saw="client")

    @transport.event_handler("on_client_disconnected")
    async def disconnected(*_: object) -> None:
        tell(saw="goodbye")

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    obeying = asyncio.create_task(obey(bot, worker))
    await runner.run()
    obeying.cancel()


if __name__ == "__main__":
    asyncio.run(main())
