"""Utterances from a provider over real HTTP into an owner: what is heard, and what is told."""

from __future__ import annotations

from base64 import b64encode

import numpy as np
import pytest
import trio

from tests.media.support import sine, wav_bytes
from tests.tts.listener import RATE_HZ, Listener
from tests.tts.mock import Behaviour, Fail, Raw, Speak, Stall
from tests.tts.stage import KEY, config_for, open_stage
from vb.codecs.pcm import Pcm
from vb.errors import Conflict, NotFound
from vb.tts.names import NAMES
from vb.tts.tasks import asking
from vb.tts.tasks.voices import MAX_UTTERANCES

TONE = sine(400, RATE_HZ, 0.5)
OTHER = sine(900, RATE_HZ, 0.5)


def same(heard: Pcm, pcm: Pcm) -> bool:
    """Whether audio was heard as it is, with silence at its end to a whole frame."""
    return heard.size - pcm.size < RATE_HZ // 50 and np.array_equal(heard[: pcm.size], pcm)


async def test_a_text_is_heard_sample_for_sample_and_told() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes()))
        tts_id = stage.speak("hello")
        finished = await stage.listener.hear_until("tts.finished", "tts.error")
    assert finished == {"tts_id": tts_id, "reason": "completed", "played_ms": 500}
    assert stage.listener.kinds == ["tts.started", "tts.finished"]
    assert same(stage.listener.pcm, TONE)


async def test_the_first_chunk_is_heard_while_the_rest_is_still_to_come() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes(), stall_at=6_400))
        stage.speak()
        await stage.listener.hear_until("tts.started")
        with trio.fail_after(5):
            while len(stage.listener.heard) < 10:
                stage.listener.tick()
                await trio.sleep(0.001)
        assert np.array_equal(stage.listener.pcm, TONE[:3_200])


async def test_utterances_follow_one_another_in_order() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes()), Speak(OTHER.tobytes()), Speak(TONE.tobytes()))
        said = [stage.speak(text) for text in ("one", "two", "three")]
        await stage.listener.hear_until("tts.finished", count=3)
    assert [(kind, fields["tts_id"]) for kind, fields in stage.listener.told] == [
        (kind, tts_id) for tts_id in said for kind in ("tts.started", "tts.finished")
    ]
    assert same(stage.listener.pcm, np.concatenate([TONE, OTHER, TONE]))


async def test_only_one_utterance_is_prepared_ahead() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes(), stall_at=3_200))
        for text in ("one", "two", "three", "four"):
            stage.speak(text)
        await stage.listener.hear_until("tts.started")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert len(stage.mock.spoken) == 2


async def test_an_overlapping_utterance_is_heard_at_once() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes(), stall_at=640), Speak(OTHER.tobytes()))
        first = stage.speak("one")
        await stage.listener.hear_until("tts.started")
        second = stage.speak("two", overlap=True)
        finished = await stage.listener.hear_until("tts.finished")
    assert finished["tts_id"] == second != first


async def test_a_stop_silences_an_utterance_and_lets_the_next_one_speak() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes(), stall_at=3_200), Speak(OTHER.tobytes()))
        first, second = stage.speak("one"), stage.speak("two")
        await stage.listener.hear_until("tts.started")
        stage.listener.tick()
        stage.players.stop(stage.listener, first)
        stage.listener.heard.clear()
        await stage.listener.hear_until("tts.finished", count=2)
        with pytest.raises(NotFound):
            stage.players.stop(stage.listener, first)
    assert stage.listener.told[1][1] == {"tts_id": first, "reason": "stopped", "played_ms": 20}
    assert stage.listener.told[-1][1]["tts_id"] == second
    assert same(stage.listener.pcm, OTHER)


async def test_an_utterance_is_stopped_while_it_waits_and_nothing_of_it_is_asked_for() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes(), stall_at=3_200))
        stage.speak("one")
        stage.speak("two")
        third = stage.speak("three")
        await stage.listener.hear_until("tts.started")
        stage.players.stop(stage.listener, third)
        finished = await stage.listener.hear_until("tts.finished")
        assert finished == {"tts_id": third, "reason": "stopped", "played_ms": 0}
        assert len(stage.mock.spoken) <= 2


async def test_volume_is_changed_while_it_is_heard() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes()))
        tts_id = stage.speak(volume=-2)
        await stage.listener.hear_until("tts.started")
        stage.listener.tick()
        stage.players.set_volume(stage.listener, tts_id, -8)
        stage.listener.tick()
        stage.listener.tick()
        first, _, second = stage.listener.heard[:3]
        assert np.abs(first).max() == pytest.approx(10_000 * 10 ** (-0.3), rel=0.02)
        assert np.abs(second).max() == pytest.approx(10_000 * 10 ** (-1.2), rel=0.02)


async def test_the_end_of_a_leg_stops_what_is_said_and_what_waits() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes(), stall_at=3_200))
        first, second = stage.speak("one"), stage.speak("two")
        await stage.listener.hear_until("tts.started")
        stage.listener.tick()
        await stage.listener.slots.end()
        assert stage.listener.sources == []
        ends = {fields["tts_id"]: fields for kind, fields in stage.listener.told if kind == "tts.finished"}
        assert ends == {
            first: {"tts_id": first, "reason": "stopped", "played_ms": 20},
            second: {"tts_id": second, "reason": "stopped", "played_ms": 0},
        }
        assert len(stage.listener.told) == 3
        with pytest.raises(Conflict):
            stage.speak("three")
        with pytest.raises(NotFound):
            stage.players.stop(stage.listener, first)
        with trio.fail_after(5):
            while stage.mock.open:
                await stage.mock.closed.wait()
                await trio.sleep(0.001)


async def test_too_many_utterances_are_refused() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Stall())
        for number in range(MAX_UTTERANCES):
            stage.speak(str(number))
        with pytest.raises(Conflict):
            stage.speak("one more")


FAILURES: list[tuple[Behaviour, str, int]] = [
    (Fail(400), "permanent_input", 1),
    (Fail(401), "permanent_auth", 1),
    (Fail(403), "permanent_auth", 1),
    (Fail(404), "permanent_input", 1),
    (Fail(422), "permanent_input", 1),
    (Fail(429), "rate_limited", 3),
    (Fail(500), "service_unavailable", 3),
    (Fail(503), "service_unavailable", 3),
    (Fail(302, headers={"Location": "http://127.0.0.1:1/"}), "unknown", 1),
    (Raw(b"\x00\xffgarbage\r\n\r\n"), "retryable", 3),
    (Raw(b""), "retryable", 3),
    (Speak(b""), "unknown", 1),
    (Speak(b"<html>", "text/html"), "unknown", 1),
    (Speak(b'{"error": 1}', "application/json"), "unknown", 1),
    (Speak(b"RIFFxxxxJUNK" * 10, "audio/wav"), "unknown", 1),
    (Speak(TONE.tobytes(), cut_at=0), "retryable", 3),
]


@pytest.mark.parametrize(("behaviour", "category", "asked"), FAILURES)
async def test_a_failure_is_one_event_with_its_category(
    behaviour: Behaviour, category: str, asked: int
) -> None:
    async with open_stage() as stage:
        stage.mock.plan(behaviour)
        tts_id = stage.speak()
        error = await stage.listener.hear_until("tts.error", "tts.finished")
        assert (error.get("category"), error["tts_id"]) == (category, tts_id)
        assert error["error"].startswith("elevenlabs: ")
        assert KEY not in error["error"]
        assert stage.listener.kinds == ["tts.error"]
        assert len(stage.mock.spoken) == asked


async def test_a_provider_that_recovers_is_heard() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Fail(503), Raw(b""), Speak(TONE.tobytes()))
        stage.speak()
        await stage.listener.hear_until("tts.finished")
    assert same(stage.listener.pcm, TONE)


async def test_a_closed_port_is_a_failure() -> None:
    async with open_stage(config=config_for("http://127.0.0.1:1")) as stage:
        stage.speak()
        error = await stage.listener.hear_until("tts.error")
    assert (error["category"], error["error"]) == ("retryable", "elevenlabs: cannot connect")


async def test_what_came_before_a_break_is_heard_and_then_told() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes(), declared=TONE.nbytes, cut_at=6_400))
        stage.speak()
        error = await stage.listener.hear_until("tts.error")
    assert error["category"] == "retryable"
    assert stage.listener.kinds == ["tts.started", "tts.error"]
    assert same(stage.listener.pcm, TONE[:3_200])
    assert len(stage.mock.spoken) == 1


async def test_a_stalled_answer_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "STALL_S", 0.05)
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes(), stall_at=6_400))
        stage.speak()
        error = await stage.listener.hear_until("tts.error")
    assert (error["category"], error["error"]) == ("retryable", "elevenlabs: the answer stalls")


async def test_an_answer_that_only_trickles_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "STALL_S", 0.1)
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes(), piece_bytes=4, pace_s=0.002))
        stage.speak()
        error = await stage.listener.hear_until("tts.error", "tts.finished")
    assert error["error"] == "elevenlabs: the answer stalls"


async def test_a_slow_listener_is_not_taken_for_a_stalled_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "STALL_S", 0.05)
    monkeypatch.setattr(asking, "MAX_PORTIONS", 2)
    long = np.tile(TONE, 12)
    async with open_stage() as stage:
        stage.mock.plan(Speak(long.tobytes()))
        stage.speak()
        await stage.listener.hear_until("tts.started")
        await trio.sleep(0.2)
        await stage.listener.hear_until("tts.finished", "tts.error")
    assert stage.listener.kinds == ["tts.started", "tts.finished"]
    assert same(stage.listener.pcm, long)


async def test_a_failing_utterance_lets_the_next_one_speak() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Fail(401), Speak(TONE.tobytes()))
        stage.speak("one")
        stage.speak("two")
        await stage.listener.hear_until("tts.finished")
    assert stage.listener.kinds == ["tts.error", "tts.started", "tts.finished"]


async def test_a_long_text_is_asked_for_in_pieces_and_heard_without_a_seam() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes()), Speak(OTHER.tobytes()))
        stage.speak(f"{'a' * 1500}. {'b' * 1500}.", provider="deepgram", voice="aura-2-thalia-en")
        await stage.listener.hear_until("tts.finished")
    assert same(stage.listener.pcm, np.concatenate([TONE, OTHER]))
    assert [len(request.body) for request in stage.mock.spoken] == [1513, 1513]


@pytest.mark.parametrize(
    ("content", "content_type", "rate_hz"),
    [
        (wav_bytes(TONE.tobytes(), rate_hz=RATE_HZ), "audio/wav", 16_000),
        (wav_bytes(TONE.tobytes(), rate_hz=RATE_HZ), "audio/pcm", 16_000),
        (wav_bytes(sine(400, 24_000, 0.5).tobytes(), rate_hz=24_000), "audio/wav", 24_000),
        (sine(400, 8_000, 0.5).tobytes(), "audio/l16;rate=8000", 8_000),
        (sine(400, 22_050, 0.5).tobytes(), "audio/pcm;rate=22050", 22_050),
        (sine(400, 44_100, 0.5).tobytes(), 'audio/pcm; rate="44100"', 44_100),
        (sine(400, 48_000, 0.5).tobytes(), "audio/L16; rate=48000; channels=1", 48_000),
        (bytes(4_000), "audio/basic", 8_000),
        (bytes(4_000), "audio/x-mulaw;rate=8000", 8_000),
        (bytes(4_000), "audio/x-alaw", 8_000),
    ],
)
async def test_the_format_is_read_from_the_answer(content: bytes, content_type: str, rate_hz: int) -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(content, content_type))
        stage.speak()
        finished = await stage.listener.hear_until("tts.finished", "tts.error")
    assert finished["played_ms"] == pytest.approx(500, abs=20)
    if content[-1:] != b"\0":
        middle = stage.listener.pcm[2_000:6_000].astype(float)
        peak = np.argmax(np.abs(np.fft.rfft(middle))) * RATE_HZ / 4_000
        assert peak == pytest.approx(400, abs=4)


@pytest.mark.parametrize(
    "content_type",
    ["audio/basic;rate=1", "audio/x-alaw;rate=7999", "audio/l16;rate=9999999",
     "audio/l16;rate=16000;channels=2", "audio/l16;channels=0"],
)  # fmt: skip
async def test_a_format_that_cannot_be_played_is_a_failure(content_type: str) -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(bytes(4_000), content_type))
        stage.speak()
        failed = await stage.listener.hear_until("tts.finished", "tts.error")
    assert failed["category"] == "unknown"
    assert "unsupported" in failed["error"]


async def test_an_answer_in_crumbs_is_a_failure() -> None:
    async with open_stage() as stage:
        stage.mock.plan(Speak(TONE.tobytes(), piece_bytes=2))
        stage.speak()
        failed = await stage.listener.hear_until("tts.finished", "tts.error")
    assert (failed["category"], failed["error"]) == ("unknown", "elevenlabs: the answer comes in crumbs")


async def test_what_follows_the_audio_without_end_is_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "STALL_S", 0.3)
    audio = b64encode(wav_bytes(TONE.tobytes(), rate_hz=RATE_HZ))
    content = b'{"audioContent": "' + audio + b'"' + b" " * 30_000_000
    async with open_stage() as stage:
        stage.mock.plan(Speak(content, "application/json", piece_bytes=8_192, pace_s=0.01))
        stage.speak(provider="google", voice="Kore", api_key="k")
        failed = await stage.listener.hear_until("tts.finished", "tts.error")
    assert (failed["category"], "stalls" in failed["error"]) == ("retryable", True)


async def test_two_owners_do_not_wait_for_each_other() -> None:
    async with open_stage() as stage, trio.open_nursery() as nursery:
        other = Listener("room a")
        other.slots.open_in(nursery)
        stage.mock.plan(Speak(TONE.tobytes(), stall_at=640), Speak(OTHER.tobytes()))
        stage.speak("one")
        await stage.listener.hear_until("tts.started")
        stage.voices.speak(other, stage.speech("two"))
        await other.hear_until("tts.finished")
        await other.slots.end()
    assert same(other.pcm, OTHER)


async def test_every_provider_is_heard() -> None:
    content = b64encode(wav_bytes(TONE.tobytes(), rate_hz=RATE_HZ)).decode()
    for provider in set(NAMES) - {"local"}:
        async with open_stage() as stage:
            stage.mock.plan(Speak(TONE.tobytes()))
            if provider == "google":
                stage.mock.plan(
                    Speak(f'{{"audioContent": "{content}"}}'.encode(), "application/json; charset=UTF-8")
                )
            stage.speak(provider=provider, api_key="a:b")
            await stage.listener.hear_until("tts.finished", "tts.error")
            assert (provider, stage.listener.kinds) == (provider, ["tts.started", "tts.finished"])
            assert same(stage.listener.pcm, TONE)
