"""Which way digits go, and when they cannot."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from vb.errors import Conflict
from vb.sipleg.digit_sending import send_digits


class Ways:
    """A call and a port that note what they are asked to send.

    Args:
        events: the far end takes telephone-events.
        info: it takes INFO.
        room: there is room for more digits.
    """

    def __init__(self, *, events: bool = False, info: bool = False, room: bool = True, **state: bool) -> None:
        self.sent: list[tuple[str, str]] = []
        self._room = room
        self.call: Any = SimpleNamespace(takes_info_digits=info, send_info_digits=self._noting("info"))
        flags = {"remote_hold": False, "local_hold": False, "transmitting": True, **state}
        self.port: Any = SimpleNamespace(
            digits=object() if events else None,
            send_digits=self._noting("events"),
            send_tones=self._noting("tones"),
            **flags,
        )

    def _noting(self, way: str) -> Any:
        def send(digits: str) -> bool:
            self.sent.append((way, digits))
            return self._room

        return send


@pytest.mark.parametrize(
    ("events", "info", "way"),
    [(True, False, "events"), (True, True, "events"), (False, True, "info"), (False, False, "tones")],
)
def test_telephone_events_go_before_info_and_info_before_tones(events: bool, info: bool, way: str) -> None:
    ways = Ways(events=events, info=info)
    send_digits(ways.call, ways.port, "12")
    assert ways.sent == [(way, "12")]


@pytest.mark.parametrize("way", [{"events": True}, {"info": True}, {}], ids=["events", "info", "tones"])
@pytest.mark.parametrize("state", [{"remote_hold": True}, {"transmitting": False}], ids=["held", "no audio"])
def test_a_state_that_lets_nothing_out_is_a_conflict(way: dict[str, bool], state: dict[str, bool]) -> None:
    ways = Ways(**way, **state)
    with pytest.raises(Conflict):
        send_digits(ways.call, ways.port, "1")
    assert ways.sent == []


def test_on_a_hold_of_ours_audio_is_off_and_signals_are_not() -> None:
    for way in ({"events": True}, {"info": True}):
        ways = Ways(**way, local_hold=True)
        send_digits(ways.call, ways.port, "1")
        assert len(ways.sent) == 1
    ways = Ways(local_hold=True)
    with pytest.raises(Conflict, match="held"):
        send_digits(ways.call, ways.port, "1")
    assert ways.sent == []


def test_too_many_digits_are_a_conflict() -> None:
    ways = Ways(room=False)
    with pytest.raises(Conflict, match="too many"):
        send_digits(ways.call, ways.port, "1")
