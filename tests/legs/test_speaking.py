"""Speaking events of a leg: which, in which order, and with which room."""

from __future__ import annotations

import trio

from tests.mixer.support import Phone, World
from tests.support.leg_host import FarEnd, MediaLog, RecordingHost, make_leg
from vb.events.speech import SpeakingStarted, SpeakingStopped
from vb.legs.leg import Leg


class Talker:
    """A leg whose far end talks all the time."""

    def __init__(self) -> None:
        self.host = RecordingHost()
        self.world = World()
        self.phone: Phone = self.world.phone(400)
        self.leg = make_leg(self.host)
        self.leg.adopt_port(self.phone.port)
        self.phone.port.detect_speaking = True


class FakeRoom:
    """A room that only notes when the leg leaves."""

    def __init__(self, host: RecordingHost) -> None:
        self.id = "room-1"
        self.sample_rate_hz = 16_000
        self._host = host
        self.seen: list[str] = []

    def remove(self, leg: Leg) -> None:
        self.seen = list(self._host.types)
        leg.room = None

    def relay_digit(self, leg: Leg, digit: str) -> None:
        raise AssertionError("no digit was sent")

    def relay_text(self, leg: Leg, text: str) -> None:
        raise AssertionError("no text was sent")

    def role_changed(self, leg: Leg) -> None:
        raise AssertionError("no role was changed")

    async def settle(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_started_carries_the_app_and_no_room_when_in_none() -> None:
    talker = Talker()
    talker.world.run(20)
    assert talker.host.published == [SpeakingStarted(leg_id="leg-1", app_id="shop")]


async def test_the_room_is_that_of_the_moment() -> None:
    talker = Talker()
    talker.world.run(20)
    talker.leg.room = FakeRoom(talker.host)
    talker.phone.hz = None
    talker.world.run(20)
    assert talker.host.published[-1] == SpeakingStopped(leg_id="leg-1", app_id="shop", room_id="room-1")


async def test_mute_is_told_before_the_end_of_speech() -> None:
    talker = Talker()
    talker.world.run(20)
    talker.leg.set_muted(True)
    talker.world.run(30)
    assert talker.host.types == ["speaking.started", "leg.muted", "speaking.stopped"]


async def test_a_muted_leg_does_not_start() -> None:
    talker = Talker()
    talker.leg.set_muted(True)
    talker.world.run(30)
    assert talker.host.types == ["leg.muted"]


async def test_the_end_of_a_leg_ends_speech_in_its_room_first() -> None:
    talker = Talker()
    room = FakeRoom(talker.host)
    talker.leg.room = room

    def ready() -> None:
        talker.world.run(20)
        talker.leg.hangup("api_hangup")

    await talker.leg.live(FarEnd(), MediaLog(talker.leg).open, on_ready=ready)
    stopped = SpeakingStopped(leg_id="leg-1", app_id="shop", room_id="room-1")
    assert talker.host.types == ["speaking.started", "speaking.stopped", "leg.disconnected"]
    assert talker.host.published[1] == stopped
    assert room.seen == ["speaking.started", "speaking.stopped"]


async def test_nothing_starts_once_the_leg_has_ended() -> None:
    talker = Talker()
    talker.leg.hangup("api_hangup")
    talker.world.run(30)
    talker.phone.port.close()
    assert talker.host.types == []
