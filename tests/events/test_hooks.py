from __future__ import annotations

import pytest

from vb.events.base import Event, Published
from vb.events.hooks import Hook, HookTable
from vb.events.leg import LegJoinedRoom, LegMuted
from vb.events.media import PlaybackStarted
from vb.events.room import RoomCreated

GLOBAL, LEG, ROOM = Hook("http://global/"), Hook("http://leg/", "k"), Hook("http://room/")


def published(event: Event) -> Published:
    return Published(event, "e", "t", "i")


@pytest.fixture
def table() -> HookTable:
    table = HookTable(GLOBAL)
    table.set_leg("hooked", LEG)
    table.set_room("hooked", ROOM)
    return table


@pytest.mark.parametrize(
    ("event", "hook"),
    [
        (LegMuted(leg_id="hooked"), LEG),
        (LegMuted(leg_id="plain"), GLOBAL),
        (RoomCreated(room_id="hooked"), ROOM),
        (RoomCreated(room_id="plain"), GLOBAL),
        (LegJoinedRoom(leg_id="hooked", room_id="hooked"), LEG),
        (LegJoinedRoom(leg_id="plain", room_id="hooked"), ROOM),
        (LegJoinedRoom(leg_id="plain", room_id="plain"), GLOBAL),
        (PlaybackStarted(playback_id="p", leg_id="hooked"), LEG),
        (PlaybackStarted(playback_id="p", room_id="hooked"), ROOM),
    ],
)
def test_an_event_goes_to_the_leg_then_the_room_then_the_global_hook(
    table: HookTable, event: Event, hook: Hook
) -> None:
    assert table.route(published(event)) == hook


def test_without_any_hook_an_event_goes_nowhere() -> None:
    assert HookTable().route(published(LegMuted(leg_id="a"))) is None


def test_a_leg_id_does_not_name_a_room(table: HookTable) -> None:
    table.drop_leg("hooked")
    assert table.route(published(LegMuted(leg_id="hooked"))) == GLOBAL


def test_dropped_hooks_are_forgotten_and_dropping_twice_is_harmless(table: HookTable) -> None:
    for _ in range(2):
        table.drop_leg("hooked")
        table.drop_room("hooked")
    assert table.route(published(LegJoinedRoom(leg_id="hooked", room_id="hooked"))) == GLOBAL


def test_setting_none_takes_a_hook_away(table: HookTable) -> None:
    table.set_leg("hooked", None)
    table.set_room("hooked", None)
    assert table.route(published(LegJoinedRoom(leg_id="hooked", room_id="hooked"))) == GLOBAL


def test_a_secret_does_not_show() -> None:
    assert "k" not in repr(Hook("http://x/", "k")).replace("Hook", "")
