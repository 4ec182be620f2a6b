"""Kept speech: no second question to a provider, whole files only, and a size that is kept to."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from tests.media.support import inline, sine
from tests.support.ids import SequentialIds
from tests.tts.listener import RATE_HZ
from tests.tts.mock import Fail, Speak
from tests.tts.stage import KEY, Stage, open_stage
from tests.tts.test_voices import same
from vb.errors import ConfigError
from vb.tts.base import Audio
from vb.tts.cache import CacheIndex, pack, unpack
from vb.tts.tasks.cache import SpeechCache

TONE = sine(400, RATE_HZ, 0.5)


def cache_in(folder: Path, max_bytes: int = 1 << 20) -> SpeechCache:
    return SpeechCache(str(folder), max_bytes, with_api_key=False, disk=inline, ids=SequentialIds())


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


async def _say(stage: Stage, count: int, text: str = "hello", **more: Any) -> None:
    stage.speak(text, **more)
    await stage.listener.hear_until("tts.finished", "tts.error", count=count)


async def test_the_same_text_is_asked_for_once_and_survives_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        async with open_stage(cache_dir=tmp_path / "c") as stage:
            stage.mock.plan(Speak(TONE.tobytes()) if _ == 0 else Fail(500))
            for count in (1, 2):
                await _say(stage, count)
            assert same(stage.listener.pcm[:8_000], TONE)
            assert same(stage.listener.pcm[8_000:], TONE)
            assert len(stage.mock.requests) == (1 if _ == 0 else 0)
    (file,) = (tmp_path / "c").iterdir()
    assert file.read_bytes().split(b"\n", 1)[0] == b"audio/pcm;rate=16000;length=16000"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert KEY not in file.name


@pytest.mark.parametrize(
    "other",
    [
        {"text": "bye"},
        {"model_id": "m"},
        {"language": "pl"},
        {"voice": "pNInz6obpgDQGcFmaJgB"},
        {"provider": "deepgram"},
    ],
)
async def test_everything_that_changes_the_sound_is_kept_apart(tmp_path: Path, other: dict[str, str]) -> None:
    async with open_stage(cache_dir=tmp_path) as stage:
        stage.mock.plan(Speak(TONE.tobytes()))
        await _say(stage, 1)
        await _say(stage, 2, **{"text": "hello", **other})
        assert len(stage.mock.requests) == 2


@pytest.mark.parametrize(("with_api_key", "asked"), [(False, 1), (True, 2)])
async def test_keys_are_kept_apart_only_where_that_is_set(
    tmp_path: Path, with_api_key: bool, asked: int
) -> None:
    async with open_stage(cache_dir=tmp_path, with_api_key=with_api_key) as stage:
        stage.mock.plan(Speak(TONE.tobytes()))
        await _say(stage, 1, api_key="one")
        await _say(stage, 2, api_key="two")
        assert len(stage.mock.requests) == asked


@pytest.mark.parametrize("broken", [Fail(500), Speak(TONE.tobytes(), declared=16_000, cut_at=9_000)])
async def test_a_failure_is_not_kept(tmp_path: Path, broken: Speak | Fail) -> None:
    async with open_stage(cache_dir=tmp_path) as stage:
        stage.mock.plan(broken)
        await _say(stage, 1)
        assert stage.listener.kinds[-1] == "tts.error"
        assert names(tmp_path) == set()


async def test_a_stopped_utterance_is_not_kept_in_part(tmp_path: Path) -> None:
    async with open_stage(cache_dir=tmp_path) as stage:
        stage.mock.plan(Speak(TONE.tobytes(), stall_at=3_200))
        tts_id = stage.speak()
        await stage.listener.hear_until("tts.started")
        stage.players.stop(stage.listener, tts_id)
        await stage.listener.hear_until("tts.finished")
        assert names(tmp_path) == set()


@pytest.mark.parametrize(
    "damage",
    [b"", b"audio/mpeg\nxx", b"audio/pcm;rate=16000;length=99\nxx", b"audio/pcm;rate=1000;length=2\nxx"],
)
async def test_a_damaged_file_is_asked_for_again_and_replaced(tmp_path: Path, damage: bytes) -> None:
    async with open_stage(cache_dir=tmp_path) as stage:
        stage.mock.plan(Speak(TONE.tobytes()))
        await _say(stage, 1)
        (name,) = names(tmp_path)
        file = tmp_path / name
        file.write_bytes(damage)
        await _say(stage, 2)
        assert len(stage.mock.requests) == 2
        assert unpack(file.read_bytes()) is not None


async def test_a_full_disk_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_stage(cache_dir=tmp_path) as stage:
        stage.mock.plan(Speak(TONE.tobytes()))

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        await _say(stage, 1)
        assert stage.listener.kinds == ["tts.started", "tts.finished"]
        assert names(tmp_path) == set()


async def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    size = len(pack([Audio(TONE, RATE_HZ)], RATE_HZ))
    cache = cache_in(tmp_path, 2 * size)
    one, two, three = ("1" * 64, "2" * 64, "3" * 64)
    await cache.put(one, [Audio(TONE, RATE_HZ)])
    await cache.put(two, [Audio(TONE, RATE_HZ)])
    assert await cache.get(one) is not None
    await cache.put(three, [Audio(TONE, RATE_HZ)])
    assert await cache.get(two) is None
    assert names(tmp_path) == {one, three}
    again = cache_in(tmp_path, size)
    assert names(tmp_path) == {three}
    kept = await again.get(three)
    assert kept is not None
    assert np.array_equal(kept.pcm, TONE)


async def test_what_is_larger_than_the_folder_is_not_kept(tmp_path: Path) -> None:
    cache = cache_in(tmp_path, 100)
    await cache.put("0" * 64, [Audio(TONE, RATE_HZ)])
    assert names(tmp_path) == set()


def test_parts_of_a_killed_server_are_removed_and_strangers_left(tmp_path: Path) -> None:
    old, young, stranger = tmp_path / "aa.part", tmp_path / "bb.part", tmp_path / "notes.txt"
    for file in (old, young, stranger):
        file.write_bytes(b"x")
    os.utime(old, (1, 1))
    os.utime(stranger, (1, 1))
    cache_in(tmp_path)
    assert names(tmp_path) == {"bb.part", "notes.txt"}


def test_a_folder_that_cannot_be_used_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="TTS_CACHE_DIR"):
        cache_in(tmp_path / "file")


async def test_a_slow_disk_is_not_waited_for(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async def stuck(function: object) -> None:
        await trio.sleep_forever()

    cache = cache_in(tmp_path)
    cache._disk = stuck  # type: ignore[assignment]  # never returns
    assert await cache.get("0" * 64) is None
    await cache.put("0" * 64, [Audio(TONE, RATE_HZ)])
    assert trio.current_time() < 10


async def test_what_had_to_go_before_it_was_written_does_not_stay(tmp_path: Path) -> None:
    first_may = trio.Event()
    calls = 0

    async def disk(function: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            await first_may.wait()
        return function()

    size = len(pack([Audio(TONE, RATE_HZ)], RATE_HZ))
    cache = cache_in(tmp_path, size)
    cache._disk = disk
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cache.put, "1" * 64, [Audio(TONE, RATE_HZ)])
        await trio.testing.wait_all_tasks_blocked()
        await cache.put("2" * 64, [Audio(TONE, RATE_HZ)])
        first_may.set()
    assert names(tmp_path) == {"2" * 64}


async def test_what_a_slow_disk_holds_still_counts(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async def stuck(function: object) -> None:
        await trio.sleep_forever()

    size = len(pack([Audio(TONE, RATE_HZ)], RATE_HZ))
    cache = cache_in(tmp_path, size)
    await cache.put("1" * 64, [Audio(TONE, RATE_HZ)])
    quick, cache._disk = cache._disk, stuck  # type: ignore[assignment]  # never returns
    assert await cache.get("1" * 64) is None
    cache._disk = quick
    await cache.put("2" * 64, [Audio(TONE, RATE_HZ)])
    assert names(tmp_path) == {"2" * 64}


def test_an_index_counts_each_utterance_once() -> None:
    index = CacheIndex(10)
    assert index.add("a", 4) == []
    assert index.add("a", 6) == []
    assert (index.size, len(index)) == (6, 1)
    assert index.add("b", 6) == ["a"]
    index.drop("b")
    index.drop("b")
    assert index.size == 0


_WRITER = """
import sys, numpy, trio
from tests.media.support import inline
from vb.ids import SystemIds
from vb.tts.base import Audio
from vb.tts.tasks.cache import SpeechCache

async def main():
    cache = SpeechCache(sys.argv[1], 1 << 30, with_api_key=False, disk=inline, ids=SystemIds())
    audio = [Audio(numpy.ones(400_000, numpy.int16), 16_000)]
    for number in range(100_000):
        await cache.put(f"{number:064x}", audio)
        print(number, flush=True)

trio.run(main)
"""


def test_a_kill_leaves_whole_files_only(tmp_path: Path) -> None:
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        writer.stdout.readline()
        writer.kill()
        writer.wait()
        writer.stdout.close()
    kept = [name for name in names(tmp_path) if not name.endswith(".part")]
    assert len(kept) >= 2
    assert all(unpack((tmp_path / name).read_bytes()) is not None for name in kept)
