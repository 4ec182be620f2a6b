"""Text of a leg: its count, its switch, its room."""

from __future__ import annotations

from tests.rooms.support import Floor
from tests.support.leg_host import RecordingHost, make_leg
from vb.events.text import RttReceived
from vb.legs.leg import Leg


class TextLeg(Leg):
    """A leg that keeps what is sent to it."""

    def __init__(self, floor: Floor, name: str) -> None:
        super().__init__(floor.host, leg_id=name, leg_type="websocket_in", app_id="shop", now=0.0)
        self.sent: list[str] = []
        self.negotiated = True

    @property
    def has_text(self) -> bool:
        return self.negotiated

    def send_text(self, text: str) -> bool:
        self.sent.append(text)
        return True


def texts(host: RecordingHost) -> list[tuple[str, str, int, bool | None]]:
    events = [event for event in host.published if isinstance(event, RttReceived)]
    return [(event.leg_id, event.text, event.seq, event.loss_marker) for event in events]


async def test_each_leg_counts_its_own_text_from_one() -> None:
    host = RecordingHost()
    one, two = make_leg(host, "one"), make_leg(host, "two")
    one.text_received("a")
    two.text_received("b")
    one.text_received("\ufffdc", lost=True)
    assert texts(host) == [("one", "a", 1, None), ("two", "b", 1, None), ("one", "\ufffdc", 2, True)]
    assert "loss_marker" not in host.published[0].payload()


async def test_rejected_text_does_not_count() -> None:
    host = RecordingHost()
    leg = make_leg(host)
    leg.accept_rtt = False
    leg.text_received("no")
    leg.accept_rtt = True
    leg.text_received("yes")
    assert texts(host) == [("leg-1", "yes", 1, None)]


async def test_a_leg_that_has_ended_tells_no_text() -> None:
    host = RecordingHost()
    leg = make_leg(host)
    leg.hangup("api_hangup")
    leg.text_received("late")
    assert texts(host) == []


async def test_a_leg_without_text_takes_none() -> None:
    leg = make_leg(RecordingHost())
    assert (leg.has_text, leg.send_text("x")) == (False, False)


async def test_room_mates_with_text_that_accept_it_get_it_and_tell_nothing() -> None:
    floor = Floor()
    room, elsewhere = floor.room("r"), floor.room("s")
    sender, mate, rejecting, without, away = (TextLeg(floor, name) for name in "abcde")
    rejecting.accept_rtt = False
    without.negotiated = False
    for leg in (sender, mate, rejecting, without):
        room.add(leg)
    elsewhere.add(away)
    sender.text_received("to all")
    assert [leg.sent for leg in (sender, mate, rejecting, without, away)] == [[], ["to all"], [], [], []]
    assert texts(floor.host) == [("a", "to all", 1, None)]
    room.remove(sender)
    sender.text_received("to nobody")
    assert mate.sent == ["to all"]
