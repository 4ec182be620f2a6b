"""Senders whose timestamps are not those of their audio: heard whole, and nothing learnt outlives them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from tests.mixer.odd_stamps import (
    CODECS,
    WRONG,
    Stamps,
    Talker,
    counting,
    right,
    shaken,
    still,
    times,
    zigzag,
)
from tests.mixer.support import (
    PCMU,
    World,
    level,
    rtp,
    strength,
)
from vb.codecs.base import Codec
from vb.rtp.playout import PlayoutSettings


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("stamps", [right, shaken, zigzag, times(161 / 160)])
def test_consecutive_packets_play_back_to_back(codec: Codec, stamps: Callable[[Codec], Stamps]) -> None:
    talker = Talker(World(), codec)
    assert talker.whole(talker.say(200, stamps(codec)))
    statistics = talker.phone.port.statistics()
    assert (statistics.late, statistics.discarded, statistics.shifts) == (0, 0, 0)
    assert statistics.underruns == 0


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("stamps", WRONG)
def test_timestamps_that_step_wrongly_throughout_are_not_heard(
    codec: Codec, stamps: Callable[[Codec], Stamps]
) -> None:
    talker = Talker(World(), codec)
    talker.say(15, stamps(codec))
    before = talker.phone.port.statistics()
    wrong = stamps(codec)
    assert talker.whole(talker.say(200, lambda number: wrong(number + 15)))
    after = talker.phone.port.statistics()
    assert (after.late, after.discarded) == (before.late, before.discarded)
    assert after.jitter_ms < 5


@pytest.mark.parametrize("stamps", [shaken, times(2), still, counting])
def test_they_are_heard_through_jitter(stamps: Callable[[Codec], Stamps]) -> None:
    talker = Talker(World(playout=PlayoutSettings(target_ms=80)), PCMU)
    wrong = stamps(PCMU)
    talker.say(40, wrong, jitter_s=0.03)
    assert talker.whole(talker.say(200, lambda number: wrong(number + 40), jitter_s=0.03))


@pytest.mark.parametrize("stamps", [shaken, times(2), still])
def test_a_lost_packet_leaves_the_hole_it_is(stamps: Callable[[Codec], Stamps]) -> None:
    talker = Talker(World(), PCMU)
    wrong = stamps(PCMU)
    talker.say(40, wrong)
    pcm = talker.say(100, lambda number: wrong(number + 40), loss=0.05)
    assert strength(pcm, 400, talker.sink.rates[-1]) > 7000
    assert talker.phone.port.statistics().concealed <= 10


@pytest.mark.timeout(240)  # half a million packets, one at a time
@pytest.mark.parametrize("ppm", [300, -300])
def test_ten_minutes_of_drift_and_shaken_timestamps_stay_bounded(ppm: float) -> None:
    world = World()
    one, other = world.phone(400, ppm=ppm, shaken=8), world.phone()
    world.room(one, other)
    world.run(500)
    before = one.port.statistics()
    worst = 0.0
    for _ in range(29):
        world.run(1000)
        other.heard.clear()
        worst = max(worst, one.port.statistics().delay_ms)
    after = one.port.statistics()
    assert (after.underruns, after.late, after.concealed) == (before.underruns, 0, before.concealed)
    assert worst <= 60
    assert 5 <= after.shifts <= 20


class TestARealGap:
    @pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
    @pytest.mark.parametrize("silent", [1, 5, 50, 500])
    def test_is_waited_out(self, codec: Codec, silent: int) -> None:
        talker = Talker(World(), codec)
        stamps = right(codec)
        talker.say(50, stamps)
        delay_ms = talker.phone.port.statistics().delay_ms
        begun = len(talker.sink.frames)
        talker.world.run(silent)
        talker.sample += silent * codec.pcm_rate_hz // 50
        talker.say(50, lambda number: stamps(number + 50 + silent))
        heard = talker.sink.frames[begun:]
        assert talker.whole(np.concatenate(heard[-45:]))
        assert level(heard[silent + 8]) > 5000
        if silent >= 5:
            assert level(heard[silent - 1]) < 300
        assert talker.phone.port.statistics().delay_ms == delay_ms
        assert talker.phone.port.statistics().underruns == 0

    def test_is_waited_out_when_every_other_packet_is_left_out(self) -> None:
        talker = Talker(World(), PCMU)
        for number in range(60):
            talker.queue(5000 + 320 * number, talker.world.tick_at + 0.010)
            talker.world.run(2)
        frames = [level(frame) for frame in talker.sink.frames[-40:]]
        # One frame was received, the next is its fading copy.
        assert all(min(one, other) < 0.95 * max(one, other) for one, other in pairwise(frames))
        assert talker.phone.port.statistics().underruns == 0

    def test_after_digits_is_waited_out(self) -> None:
        talker = Talker(World(), PCMU, events=101)
        stamps = right(PCMU)
        talker.say(50, stamps)
        for number in range(7):
            event = rtp(
                talker.sequence,
                stamps(50),
                bytes((5, 10, 0, 160)),
                ssrc=talker.ssrc,
                payload_type=101,
                marker=number == 0,
            )
            talker.world.io.arrive(talker.phone.port.slot, event, talker.source, talker.world.tick_at + 0.01)
            talker.sequence += 1
            talker.world.run(1)
        talker.sample += 7 * 160
        assert talker.whole(talker.say(60, lambda number: stamps(number + 57)))
        assert [packet.marker for packet in talker.phone.port.events] == [True] + [False] * 6
        assert talker.phone.port.statistics().underruns == 0

    def test_that_only_the_timestamps_have_is_left_out(self) -> None:
        talker = Talker(World(), PCMU)
        stamps = right(PCMU)
        talker.say(50, stamps)
        assert talker.whole(
            np.concatenate([talker.say(1, lambda _: stamps(90)), talker.say(60, lambda n: stamps(n + 91))])
        )
