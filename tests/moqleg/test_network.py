"""Calls over networks that lose, double and reorder datagrams, from the microphone to the ear."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from trio.testing import MockClock

from tests.moqleg.caller import open_world
from tests.moqleg.network import FarCaller
from tests.quic.world import bad_network

NEAR_HZ, FAR_HZ = 500, 1300
RATE_HZ = 48000
WINDOW = RATE_HZ // 10
FRAMES = 50
"""In a group."""
TALK_S = 5.0


def share_with(pcm: NDArray[np.int16], hertz: float) -> float:
    """Return in which share of windows of 100 ms a tone, and nothing else, is heard."""
    windows = pcm[: len(pcm) // WINDOW * WINDOW].reshape(-1, WINDOW).astype(np.float64)
    steps = np.exp(-2j * np.pi * hertz * np.arange(WINDOW) / RATE_HZ)
    tone = np.abs(windows @ steps) / WINDOW * np.sqrt(2)
    level = np.sqrt(np.mean(windows**2, axis=1))
    return float(np.mean((level > 2000) & (tone > 0.9 * level)))


@pytest.mark.parametrize("seed", [1, 3])
async def test_five_percent_loss_and_reordering_break_the_audio_of_neither_way(
    autojump_clock: MockClock, seed: int
) -> None:
    async with open_world() as world:
        near = await world.caller("room_id=r")
        far = FarCaller(world, bad_network(seed))
        await far.join("room_id=r")
        near.tone_hz, far.tone_hz = NEAR_HZ, FAR_HZ
        await far.talk(3.0)  # the buffer learns how late things come
        near.mix.frames(), far.mix.frames()
        far.came.clear()
        await far.talk(TALK_S)
        up, down = near.mix.pcm(), far.mix.pcm()
        places = [FRAMES * group + number for _, group, number in far.came]
        late_s = [at - 0.02 * place for (at, _, _), place in zip(far.came, places, strict=True)]
        # What the caller says comes too late now and then, and is concealed; the ear hears no break.
        assert share_with(up, FAR_HZ) >= 0.95
        # What it hears is all there: what was lost on the way comes again, in time for a player.
        assert sorted(places) == list(range(min(places), min(places) + len(places)))
        assert share_with(down, NEAR_HZ) == 1.0
        assert max(late_s) - min(late_s) < 0.25
        assert sum(world.kind.losses.values()) == 0
