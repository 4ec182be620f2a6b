"""Channels of participants, on a plane in virtual time."""

import numpy as np
import pytest

from tests.rooms.support import Floor
from vb.legs.leg import Leg
from vb.recording.participants import Participants
from vb.recording.recorder import Recorder


class Recording:
    """A room that is recorded with one channel per participant."""

    def __init__(self, *names: str) -> None:
        self.floor = Floor()
        self.room = self.floor.room("r")
        self.legs = {name: self.floor.leg(name, self.room) for name in names}
        self.now = 0.0
        self.recorder = Recorder(channels=1, clock=lambda: self.now, rate_hz=16000, max_queued_slots=10_000)
        self.room.mix.add_tap(self.recorder.sinks[0])
        self.participants = Participants(self.room, self.recorder)

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self.floor.run(1)
            self.now += 0.02

    def loud(self, channel: int) -> list[bool]:
        """Stop; for each slot whether a channel has audio. Channel 0 is the mix."""
        self.participants.stop()
        self.recorder.stop()
        slots = [slot for slot in self.recorder.queue if not isinstance(slot, int)]
        found = []
        for slot in slots:
            chunk = slot[channel] if channel < len(slot) else None
            found.append(chunk is not None and bool(np.abs(chunk[0].astype(int)).max() > 500))
        return found


def test_channels_follow_the_order_of_joining_the_recording() -> None:
    recording = Recording("b", "a")
    recording.participants.start()
    recording.run(5)
    recording.floor.leg("c", recording.room)
    recording.run(5)
    channels = recording.participants.channels(3, 200)
    assert {leg_id: info.channel for leg_id, info in channels.items()} == {"b": 0, "a": 1, "c": 2}
    assert channels["c"].start_ms == 100
    assert {info.end_ms for info in channels.values()} == {200}


def test_who_leaves_is_silent_and_who_returns_goes_on_in_the_same_channel() -> None:
    recording = Recording("a", "b")
    recording.participants.start()
    recording.run(50)
    guest = recording.legs["b"]
    recording.room.remove(guest)
    recording.run(20)
    assert recording.participants.channels(2, 5000)["b"].end_ms == 1000
    recording.room.add(guest)
    recording.run(30)
    info = recording.participants.channels(2, 2000)["b"]
    assert (info.channel, info.start_ms, info.end_ms) == (1, 0, 2000)
    loud = recording.loud(2)
    assert not any(loud[51:70])
    assert all(loud[20:50])
    assert all(loud[75:100])


def test_who_left_is_not_listened_to_elsewhere() -> None:
    recording = Recording("a", "b")
    other = recording.floor.room("other")
    recording.participants.start()
    recording.run(5)
    other.add(recording.legs["b"])
    recording.run(20)
    assert not any(recording.loud(2)[6:])


def test_after_the_end_nobody_is_listened_to_or_followed() -> None:
    recording = Recording("a")
    recording.participants.start()
    recording.run(5)
    recording.participants.stop()
    recording.participants.stop()
    assert recording.room.watchers == ()
    assert recording.legs["a"].port is not None
    assert recording.legs["a"].port.tap_in == ()
    late = recording.floor.leg("late", recording.room)
    assert late.port is not None
    assert late.port.tap_in == ()


def test_a_leg_without_media_is_omitted_once() -> None:
    recording = Recording("a")
    silent = Leg(recording.floor.host, leg_id="x", leg_type="sip_inbound", app_id=None, now=0.0)
    recording.participants.start()
    for _ in range(3):
        recording.room.add(silent)
        recording.room.remove(silent)
    assert recording.participants.omitted(1) == ["x"]


def test_legs_beyond_the_most_channels_are_omitted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vb.recording.participants.MAX_PARTICIPANTS", 2)
    recording = Recording("a", "b", "c")
    recording.participants.start()
    assert recording.recorder.channels == 3
    assert recording.participants.omitted(2) == ["c"]
    assert list(recording.participants.channels(2, 100)) == ["a", "b"]


def test_a_leg_whose_channel_could_not_be_written_is_omitted() -> None:
    recording = Recording("a", "b")
    recording.participants.start()
    assert recording.participants.omitted(1) == ["b"]
    assert list(recording.participants.channels(1, 100)) == ["a"]
    assert recording.participants.omitted(0) == ["a", "b"]


def test_a_muted_participant_is_on_its_channel() -> None:
    recording = Recording("a", "b")
    recording.legs["b"].set_muted(True)
    recording.participants.start()
    recording.run(50)
    assert all(recording.loud(2)[10:])
