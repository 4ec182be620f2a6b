"""Pipecat's own clients of speech services against ours, as a program: one JSON line per check.

It runs in an environment of its own, with Pipecat; `interop.pipecat_speech` starts it and reads its lines.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import numpy as np
from loguru import logger
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.deepgram.flux.stt import DeepgramFluxSTTService
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.services.deepgram.tts import DeepgramHttpTTSService, DeepgramTTSService
from pipecat.services.elevenlabs.stt import ElevenLabsRealtimeSTTService
from pipecat.services.elevenlabs.tts import ElevenLabsTTSService
from pipecat.workers.runner import WorkerRunner

from conformance.peers.stt_words import WORDS
from conformance.peers.voice_talk import spoken

RATE_HZ = 16_000
VOICE = "21m00Tcm4TlvDq8ikWAM"
STEP_S = 10.0
TEXT = "Good morning to you. How are you today?"
SAID = ("alpha", "bravo")


def say(holds: bool, what: str, detail: object = "") -> None:
    """Print one check for `interop.pipecat_speech`."""
    print(json.dumps({"holds": bool(holds), "what": what, "detail": str(detail)[:300]}), flush=True)


class Ear(FrameProcessor):
    """Keeps what comes out of a service."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []
        self.errors: list[str] = []
        self._come = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Note a frame and hand it on."""
        await super().process_frame(frame, direction)
        if isinstance(frame, ErrorFrame):
            self.errors.append(frame.error)
        self.frames.append(frame)
        self._come.set()
        await self.push_frame(frame, direction)

    async def until(self, done: Callable[[list[Frame]], bool]) -> bool:
        """Wait until something holds of all that has come."""
        try:
            async with asyncio.timeout(STEP_S):
                while not done(self.frames):
                    self._come.clear()
                    await self._come.wait()
        except TimeoutError:
            return False
        return True

    def all(self, kind: type[Frame]) -> list[Frame]:
        """The frames of one kind."""
        return [frame for frame in self.frames if isinstance(frame, kind)]

    @property
    def audio(self) -> bytes:
        """What was heard."""
        return b"".join(frame.audio for frame in self.all(TTSAudioRawFrame))


@asynccontextmanager
async def at_work(service: FrameProcessor) -> AsyncIterator[tuple[PipelineWorker, Ear]]:
    """A service in a pipeline that runs inside the block; what it reports as an error fails a check."""
    above, below = Ear(), Ear()
    params = PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ)
    worker = PipelineWorker(Pipeline([above, service, below]), params=params, cancel_on_idle_timeout=False)
    started = asyncio.Event()

    @worker.event_handler("on_pipeline_started")
    async def on_started(worker: PipelineWorker, frame: Frame) -> None:
        started.set()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    name = type(service).__name__
    try:
        await asyncio.wait_for(started.wait(), STEP_S)
        yield worker, below
        await worker.queue_frame(EndFrame())
        await asyncio.wait_for(running, STEP_S)
        errors = [*above.errors, *below.errors]
        say(not errors, f"{name} has nothing to complain of", errors)
    finally:
        running.cancel()


def _stopped(count: int = 1) -> Callable[[list[Frame]], bool]:
    return lambda frames: sum(isinstance(frame, TTSStoppedFrame) for frame in frames) >= count


def _heard(frames: list[Frame]) -> bool:
    return any(isinstance(frame, TTSAudioRawFrame) for frame in frames)


async def speaks(service: FrameProcessor, *, words: bool = False) -> None:
    """A text comes out as the audio that our service makes of it."""
    name = type(service).__name__
    async with at_work(service) as (worker, ear):
        await worker.queue_frame(TTSSpeakFrame(TEXT))
        say(await ear.until(_stopped()), f"{name} comes to the end of a text", ear.frames[-3:])
        wanted = spoken(TEXT, RATE_HZ)
        say(ear.audio[: len(wanted)] == wanted, f"{name} hears every word", (len(ear.audio), len(wanted)))
        if words:
            text = " ".join(frame.text.strip() for frame in ear.all(TTSTextFrame))
            say(text == TEXT, f"{name} knows when which word is heard", text)


async def is_interrupted(service: FrameProcessor) -> None:
    """An answer is written bit by bit and interrupted; the next one is heard."""
    name = type(service).__name__
    async with at_work(service) as (worker, ear):
        await worker.queue_frame(LLMFullResponseStartFrame())
        for word in TEXT.split():
            await worker.queue_frame(LLMTextFrame(f"{word} "))
        say(await ear.until(_heard), f"{name} speaks while text is written")
        await worker.queue_frame(InterruptionFrame())
        await ear.until(lambda frames: any(isinstance(frame, InterruptionFrame) for frame in frames))
        ear.frames.clear()
        await worker.queue_frame(LLMFullResponseStartFrame())
        await worker.queue_frame(LLMTextFrame("Zulu."))
        await worker.queue_frame(LLMFullResponseEndFrame())
        say(await ear.until(_stopped()), f"{name} speaks again after an interruption", ear.frames)
        say(spoken("Zulu.", RATE_HZ) in ear.audio, f"{name} hears the new words", len(ear.audio))


async def listens(service: FrameProcessor, *, commit: bool = False) -> None:
    """Tones come back as the words that they are."""
    name = type(service).__name__
    tones = {word: hertz for hertz, word in WORDS.items()}
    steps = np.arange(RATE_HZ * 160 // 1000) / RATE_HZ
    waves = [8000 * np.sin(2 * np.pi * tones[word] * steps) for word in SAID]
    pcm = np.concatenate([*waves, np.zeros(RATE_HZ)]).astype("<i2").tobytes()
    async with at_work(service) as (worker, ear):
        for at in range(0, len(pcm), 640):
            await worker.queue_frame(InputAudioRawFrame(pcm[at : at + 640], RATE_HZ, 1))
            await asyncio.sleep(0.005)
        if commit:
            await worker.queue_frame(VADUserStoppedSpeakingFrame())
        say(
            await ear.until(lambda frames: any(isinstance(frame, TranscriptionFrame) for frame in frames)),
            f"{name} gets a transcript",
        )
        texts = [frame.text for frame in ear.all(TranscriptionFrame)]
        say(texts == [" ".join(SAID)], f"{name} gets the words that were said", texts)


async def session(
    streams: str, voices: str, transcripts: str, secure: str, key: str, transcripts_key: str
) -> None:
    """Every client, one after the other."""

    def elevenlabs() -> FrameProcessor:
        settings = ElevenLabsTTSService.Settings(voice=VOICE, model="eleven_flash_v2_5")
        return ElevenLabsTTSService(api_key=key, url=f"ws://{streams}", settings=settings)

    def deepgram() -> FrameProcessor:
        settings = DeepgramTTSService.Settings(voice="aura-2-thalia-en")
        return DeepgramTTSService(api_key=key, base_url=f"ws://{streams}", settings=settings)

    await speaks(elevenlabs(), words=True)
    await is_interrupted(elevenlabs())
    await speaks(deepgram())
    await is_interrupted(deepgram())
    async with aiohttp.ClientSession() as http:
        settings = DeepgramHttpTTSService.Settings(voice="aura-2-thalia-en")
        service = DeepgramHttpTTSService(
            api_key=key, aiohttp_session=http, base_url=f"http://{voices}", settings=settings
        )
        async with at_work(service) as (worker, ear):
            await worker.queue_frame(TTSSpeakFrame("500 hz 400 ms"))
            say(await ear.until(_stopped()), "DeepgramHttpTTSService comes to the end of a text")
            say(len(ear.audio) >= 12_800, "DeepgramHttpTTSService hears it", len(ear.audio))
    await listens(DeepgramSTTService(api_key=transcripts_key, base_url=f"ws://{transcripts}"))
    await listens(DeepgramFluxSTTService(api_key=transcripts_key, url=f"ws://{transcripts}/v2/listen"))
    await listens(ElevenLabsRealtimeSTTService(api_key=transcripts_key, base_url=secure), commit=True)


def main() -> int:
    """Run with places as HOST:PORT and keys: STREAMS VOICES TRANSCRIPTS SECURE KEY TRANSCRIPTS_KEY."""
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    asyncio.run(session(*sys.argv[1:]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
