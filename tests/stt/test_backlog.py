"""Audio between the media plane and a provider."""

from __future__ import annotations

import numpy as np
import pytest

from vb.codecs.pcm import Pcm
from vb.stt.backlog import KEPT_MS, Backlog, is_audible


class Woken:
    """A backlog and how often it woke its sender."""

    def __init__(self, block_ms: int = 40, phase: int = 1) -> None:
        self.times = 0
        self.backlog = Backlog(block_ms=block_ms, phase=phase, on_block=self._wake)
        self._count = 0

    def _wake(self) -> None:
        self.times += 1

    def say(self, frames: int, rate_hz: int = 16000) -> None:
        for _ in range(frames):
            self._count += 1
            self.backlog.push(np.full(rate_hz // 50, self._count, np.int16), rate_hz)

    def taken(self) -> list[int]:
        """The number of each frame that can be taken now."""
        found: list[int] = []
        while (block := self.backlog.take()) is not None:
            found += [int(value) for value in block[::320]]
        return found


def test_the_sender_wakes_once_for_each_block() -> None:
    woken = Woken(block_ms=100, phase=4)
    for _ in range(4):
        woken.say(5)
        assert len(woken.taken()) == 5
    assert woken.times == 4


@pytest.mark.parametrize(("phase", "first"), [(0, 1), (1, 2), (2, 3), (3, 4), (4, 1)])
def test_legs_cut_their_blocks_at_different_times(phase: int, first: int) -> None:
    woken = Woken(block_ms=80, phase=phase)
    woken.say(first)
    block = woken.backlog.take()
    assert block is not None
    assert block.size == first * 320
    woken.say(4)
    block = woken.backlog.take()
    assert block is not None
    assert block.size == 1280


def test_frames_are_lent_and_therefore_copied() -> None:
    woken = Woken()
    frame = np.full(320, 7, np.int16)
    woken.backlog.push(frame, 16000)
    frame[:] = 0
    woken.backlog.push(frame, 16000)
    assert woken.taken() == [7, 0]


@pytest.mark.parametrize("rate_hz", [8000, 24000, 48000])
def test_other_rates_become_the_provider_rate(rate_hz: int) -> None:
    woken = Woken()
    steps = np.arange(rate_hz)
    wave = (8000 * np.sin(2 * np.pi * 440 * steps / rate_hz)).astype(np.int16)
    for frame in wave.reshape(50, -1):
        woken.backlog.push(frame, rate_hz)
    blocks: list[Pcm] = []
    while (block := woken.backlog.take()) is not None:
        blocks.append(block)
    joined = np.concatenate(blocks).astype(float)
    assert joined.size == 16000
    spectrum = np.abs(np.fft.rfft(joined[1000:]))
    assert np.argmax(spectrum) * 16000 / 15000 == pytest.approx(440, abs=2)


def test_a_change_of_rate_within_a_block_keeps_its_length() -> None:
    woken = Woken(block_ms=80, phase=3)
    woken.say(2, 8000)
    woken.say(1, 48000)
    woken.say(1, 16000)
    block = woken.backlog.take()
    assert block is not None
    assert block.size == 1280


def test_the_newest_five_seconds_are_kept() -> None:
    woken = Woken()
    woken.say(300)
    assert woken.backlog.dropped_frames == 50
    assert woken.backlog.position_samples == 50 * 320
    assert woken.taken() == list(range(51, 301))
    assert woken.backlog.position_samples == 300 * 320


def test_what_is_left_can_be_taken_before_its_block_is_whole() -> None:
    woken = Woken()
    woken.say(3)
    assert woken.taken() == [1, 2]
    block = woken.backlog.take(rest=True)
    assert block is not None
    assert block.size == 320
    assert woken.backlog.take(rest=True) is None


def test_what_was_put_back_comes_first_and_once() -> None:
    woken = Woken()
    woken.say(6)
    assert woken.taken() == [1, 2, 3, 4, 5, 6]
    woken.say(2)
    woken.backlog.put_back(4 * 320)
    assert woken.backlog.position_samples == 2 * 320
    assert woken.taken() == [3, 4, 5, 6, 7, 8]
    woken.backlog.put_back(0)
    woken.backlog.put_back(100 * 320)
    assert woken.taken() == []


def test_no_more_is_put_back_than_is_kept_with_what_waits() -> None:
    woken = Woken()
    for _ in range(10):
        woken.say(50)
        woken.taken()
    woken.say(100)
    woken.backlog.put_back(10**9)
    taken = woken.taken()
    assert len(taken) * 20 <= KEPT_MS
    assert taken[-1] == 600
    assert taken == list(range(taken[0], 601))
    assert len(taken) >= 248


def test_what_is_to_be_sent_again_gives_way_before_what_came_later() -> None:
    woken = Woken()
    woken.say(250)
    assert len(woken.taken()) == 250
    woken.backlog.put_back(200 * 320)
    woken.say(100)
    assert woken.backlog.dropped_frames == 50
    assert woken.backlog.position_samples == 100 * 320
    assert woken.taken() == list(range(101, 351))
    assert woken.backlog.position_samples == 350 * 320


def test_what_finds_no_room_to_be_sent_again_is_counted() -> None:
    woken = Woken()
    woken.say(100)
    assert len(woken.taken()) == 100
    woken.say(200)
    woken.backlog.put_back(100 * 320)
    assert woken.backlog.dropped_frames == 50
    assert woken.taken() == list(range(51, 301))


def test_a_closed_backlog_takes_no_more() -> None:
    woken = Woken()
    woken.say(2)
    woken.backlog.close()
    woken.say(2)
    assert woken.taken() == [1, 2]


@pytest.mark.parametrize(
    ("level", "audible"), [(0, False), (300, False), (1000, True), (-32768, True), (32767, True)]
)
def test_speech_is_told_from_a_silent_line(level: int, audible: bool) -> None:
    pcm = np.zeros(320, np.int16)
    pcm[5] = level
    assert is_audible(pcm) is audible
    assert not is_audible(np.zeros(0, np.int16))
