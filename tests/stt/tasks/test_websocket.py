"""Sessions over WebSockets, with a service on loopback that fails in every way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import numpy as np
import pytest
import trio
from pydantic import SecretStr

from conformance.peers.stt_service import KEY, Plan, SttService, open_stt_service
from conformance.peers.stt_words import WORDS
from vb.build import build_web
from vb.config import Config
from vb.config.providers import AzureSpeechConfig, DeepgramConfig, ElevenLabsConfig
from vb.providers.failure import ProviderFailed
from vb.stt.base import FinalText, Options, Provider, Session
from vb.stt.tasks import websocket as module
from vb.stt.tasks.providers import transcript_providers
from vb.web.tasks.websocket import Pace

PROVIDERS = ("deepgram", "deepgram_flux", "elevenlabs", "azure")
QUICK = Pace(open_s=0.5, send_s=0.5, ping_s=0.2, pong_s=0.2, close_s=0.1, unsent_bytes=32_768)
_TONES = {word: hz for hz, word in WORDS.items()}


def spoken(*words: str, silence_s: float = 0.0) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Words of 160 ms and silence after them."""
    steps = np.arange(2560) / 16000
    waves = [8000 * np.sin(2 * np.pi * _TONES[word] * steps) for word in words]
    return np.concatenate([*waves, np.zeros(round(16000 * silence_s))]).astype(np.int16)


@asynccontextmanager
async def reached(name: str, *plans: Plan) -> AsyncIterator[tuple[SttService, Provider]]:
    """A service, and a provider that leads to it."""
    async with open_stt_service() as service:
        service.plans = list(plans)
        key, url = SecretStr(KEY), service.url
        config = Config(
            deepgram=DeepgramConfig(api_key=key, base_url=url),
            elevenlabs=ElevenLabsConfig(api_key=key, base_url=url),
            azure=AzureSpeechConfig(api_key=key, base_url=url),
        )
        async with aclosing(build_web(config)) as web:
            (found,) = (each for each in transcript_providers(config, web) if each.name == name)
            yield service, found


async def send(session: Session, pcm: np.ndarray[tuple[int], np.dtype[np.int16]]) -> None:
    for start in range(0, pcm.size, 640):
        await session.send(pcm[start : start + 640])


async def receive_all(session: Session) -> None:
    while await session.receive() is not None:
        pass


async def send_without_end(session: Session) -> None:
    while True:
        await session.send(np.zeros(64_000, np.int16))


async def failure_of(session: Session) -> ProviderFailed:
    """Receive until the session fails."""
    with trio.fail_after(5), pytest.raises(ProviderFailed) as failed:
        await receive_all(session)
    return failed.value


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_session_ends_with_its_last_words(name: str) -> None:
    async with reached(name) as (service, provider):
        texts: list[str] = []
        async with provider.open(Options()) as session:
            await send(session, spoken("alpha", "bravo"))
            await session.finish()
            with trio.fail_after(5):
                while (heard := await session.receive()) is not None:
                    texts += [item.text for item in heard if isinstance(item, FinalText)]
        assert [text for text in texts if text] == ["alpha bravo"]
        with trio.fail_after(5):
            await service.connections[0].closed.wait()


@pytest.mark.parametrize(
    ("plan", "category"),
    [
        (Plan(status=400), "permanent_input"),
        (Plan(status=401), "permanent_auth"),
        (Plan(status=402), "rate_limited"),
        (Plan(status=403), "permanent_auth"),
        (Plan(status=404), "permanent_input"),
        (Plan(status=429), "rate_limited"),
        (Plan(status=500), "service_unavailable"),
        (Plan(status=503), "service_unavailable"),
        (Plan(hang_up=True), "retryable"),
        (Plan(late_s=1.0), "retryable"),
    ],
)
async def test_a_refused_handshake_has_a_category(
    monkeypatch: pytest.MonkeyPatch, plan: Plan, category: str
) -> None:
    monkeypatch.setattr(module, "PACE", QUICK)
    async with reached("deepgram", plan) as (_, provider):
        with pytest.raises(ProviderFailed) as failed:
            async with provider.open(Options()):
                raise AssertionError
        assert failed.value.category == category
        assert str(failed.value).startswith("deepgram: ")


async def test_a_wrong_key_is_told_and_not_shown() -> None:
    async with reached("elevenlabs") as (_, provider):
        with pytest.raises(ProviderFailed) as failed:
            async with provider.open(Options(api_key=SecretStr("wrong-key"))):
                raise AssertionError
        assert failed.value.category == "permanent_auth"
        assert "wrong-key" not in str(failed.value)


async def test_nobody_at_the_place_is_worth_another_try() -> None:
    async with reached("azure") as (service, provider):
        pass
    async with aclosing(build_web(Config())) as web:
        config = Config(azure=AzureSpeechConfig(api_key=SecretStr("k"), base_url=service.url))
        provider = transcript_providers(config, web)[-1]
        with pytest.raises(ProviderFailed) as failed:
            async with provider.open(Options()):
                raise AssertionError
        assert failed.value.category == "retryable"


async def test_a_provider_that_has_to_speak_first_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACE", QUICK)
    monkeypatch.setattr("conformance.peers.stt_talk.Flux.greet", lambda _: [])
    async with reached("deepgram_flux") as (_, provider):
        with pytest.raises(ProviderFailed, match="not ready within"):
            async with provider.open(Options()):
                raise AssertionError


@pytest.mark.parametrize(
    ("plan", "category", "text"),
    [
        (Plan(fault="close", after_ms=0, code=1008), "permanent_input", "closed the connection: 1008"),
        (Plan(fault="close", after_ms=0, code=1011), "retryable", "closed the connection: 1011"),
        (Plan(fault="close", after_ms=0, code=1000), "retryable", "closed the connection: 1000"),
        (Plan(fault="abort", after_ms=0), "retryable", "connection lost"),
        (Plan(fault="garbage", after_ms=0), "retryable", "sent what makes no sense"),
        (Plan(say=('{"type":"Error","description":"no such model","code":"INVALID"}',), after_ms=0),
         "permanent_input", "no such model"),
        (Plan(fault="freeze", after_ms=0), "retryable", "does not answer any more"),
    ],
)  # fmt: skip
async def test_a_session_that_fails_says_so_with_a_category(
    monkeypatch: pytest.MonkeyPatch, plan: Plan, category: str, text: str
) -> None:
    monkeypatch.setattr(module, "PACE", QUICK)
    async with reached("deepgram", plan) as (_, provider), provider.open(Options()) as session:
        await send(session, spoken("alpha"))
        failed = await failure_of(session)
        assert failed.category == category
        assert str(failed).startswith(f"deepgram: {text}")


async def test_what_came_before_a_failure_is_still_given_out() -> None:
    plan = Plan(fault="close", after_ms=500)
    async with reached("deepgram", plan) as (_, provider), provider.open(Options()) as session:
        await send(session, spoken("alpha", silence_s=0.5))
        heard = await session.receive()
        assert heard
        await failure_of(session)


@pytest.mark.parametrize(("fault", "unheard_ms"), [("close", 0), ("abort", 0), ("freeze", 960)])
async def test_only_silent_connections_have_heard_nothing(
    monkeypatch: pytest.MonkeyPatch, fault: str, unheard_ms: int
) -> None:
    monkeypatch.setattr(module, "PACE", QUICK)
    plan = Plan(fault=fault, after_ms=0)  # type: ignore[arg-type]  # by name
    async with reached("deepgram", plan) as (_, provider), provider.open(Options()) as session:
        if fault == "freeze":
            await send(session, spoken("alpha", "bravo", "charlie", "delta", "echo", "foxtrot"))
        else:
            await session.send(spoken("alpha")[:640])
        await failure_of(session)
        assert session.unheard_samples == unheard_ms * 16


async def test_a_slow_reader_slows_the_sender_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACE", QUICK)
    plan = Plan(fault="freeze", after_ms=0)
    async with reached("deepgram", plan) as (_, provider), provider.open(Options()) as session:
        with trio.fail_after(5), pytest.raises(ProviderFailed):
            await send_without_end(session)


async def test_silence_while_somebody_speaks_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.3)
    plan = Plan(fault="mute", after_ms=0)
    async with reached("deepgram", plan) as (_, provider), provider.open(Options()) as session:
        await send(session, spoken("alpha"))
        failed = await failure_of(session)
        assert str(failed) == "deepgram: silent for 0.3 s"


async def test_silence_while_nobody_speaks_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_S", 0.1)
    async with reached("deepgram") as (_, provider), provider.open(Options()) as session:
        await send(session, spoken(silence_s=0.5))
        with trio.move_on_after(0.5) as patience:
            await session.receive()
        assert patience.cancelled_caught


@pytest.mark.parametrize("fault", ["freeze", "mute"])
async def test_closing_takes_no_second_whatever_the_provider_does(fault: str) -> None:
    plan = Plan(fault=fault, after_ms=0)  # type: ignore[arg-type]  # by name
    async with reached("elevenlabs", plan) as (service, provider):
        async with provider.open(Options()) as session:
            await send(session, spoken("alpha"))
            await service.connection(0)
            begun = trio.current_time()
        assert trio.current_time() - begun < 1.0
