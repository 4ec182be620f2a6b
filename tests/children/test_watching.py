from __future__ import annotations

import pytest

from vb.children.framing import Garbage, Splitter, pack
from vb.children.pulse import PING_S, SILENCE_S, START_S, ChildFault, Pulse
from vb.children.restarts import SOUND_S, Restarts


def test_a_process_is_asked_now_and_then_once_it_is_ready() -> None:
    pulse = Pulse()
    pulse.begin(100.0)
    assert not pulse.tick(101.0)
    pulse.became_ready(102.0)
    assert pulse.deadline() == 102.0 + PING_S
    assert not pulse.tick(102.0)
    assert pulse.tick(102.0 + PING_S)
    assert not pulse.tick(102.5 + PING_S)
    pulse.heard(103.0 + PING_S)
    assert pulse.tick(102.0 + 2 * PING_S)


def test_a_process_that_does_not_become_ready_or_falls_silent_is_a_fault() -> None:
    pulse = Pulse()
    pulse.begin(100.0)
    with pytest.raises(ChildFault, match="ready"):
        pulse.tick(100.0 + START_S)
    pulse.became_ready(110.0)
    pulse.heard(110.0)
    with pytest.raises(ChildFault, match="answer"):
        pulse.tick(110.0 + SILENCE_S)


def test_rests_grow_until_a_process_has_lived_for_a_while() -> None:
    restarts = Restarts(lambda: 0.5)
    rests = [restarts.rest_s(1.0) for _ in range(8)]
    assert rests == sorted(rests)
    assert (rests[0], rests[-1], restarts.failures) == (0.1, 30.0, 8)
    assert restarts.rest_s(SOUND_S) == 0.1


def test_messages_are_found_however_they_are_cut() -> None:
    given = [(1, 7, b""), (2, 8, b"x" * 300), (1, 9, b"y")]
    data = b"".join(pack(*message) for message in given)
    for size in (1, 5, 9, 10, len(data)):
        splitter = Splitter((1, 2), 300)
        found = [each for at in range(0, len(data), size) for each in splitter.feed(data[at : at + size])]
        assert found == given


@pytest.mark.parametrize("data", [pack(3, 0), pack(1, 0, b"x" * 301), b"\x00" * 9, b"\xff" * 9])
def test_what_begins_like_no_message_is_garbage(data: bytes) -> None:
    with pytest.raises(Garbage):
        Splitter((1, 2), 300).feed(data)
