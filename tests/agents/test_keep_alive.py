"""A provider that ends silent conversations is told that we are there, and only while there is no audio."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import trio
from trio.testing import MockClock

from vb.agents.deepgram import DeepgramCodec, DeepgramOptions
from vb.agents.tasks import session as session_module
from vb.agents.tasks.session import Session
from vb.web.message import Message

ALIVE = '{"type":"KeepAlive"}'
FRAME = np.zeros(320, np.int16)


class Socket:
    """A connection to a provider that applies the settings and says no more."""

    lost = None
    broke_protocol = False

    def __init__(self) -> None:
        self.alive_at: list[float] = []
        self.full = False
        self._first: list[Message] = ['{"type":"Welcome","request_id":"r"}', '{"type":"SettingsApplied"}']

    def put(self, *messages: Message) -> bool:
        if not self.full and ALIVE in messages:
            self.alive_at.append(trio.current_time())
        return not self.full

    async def receive(self) -> list[Message]:
        await trio.lowlevel.checkpoint()
        first, self._first = self._first, []
        if not first:
            await trio.sleep_forever()
        return first

    async def abandon(self) -> None:
        await trio.lowlevel.checkpoint()


class Place:
    """A seat and an owner."""

    key = "leg 1"
    why_over = ""

    def __init__(self) -> None:
        self.ears: Any = None

    def take(self, mouth: object, ears: Any) -> None:
        self.ears = ears

    def leave(self) -> None:
        self.ears = None

    def tell(self, kind: object, **fields: object) -> None:
        pass

    async def talk(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            self.ears.push(FRAME, 16_000)
            await trio.sleep(0.02)


async def test_keep_alives_go_while_there_is_no_audio_and_not_beside_it(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket, place = Socket(), Place()

    async def connect(*args: object, **options: object) -> Socket:
        await trio.lowlevel.checkpoint()
        return socket

    monkeypatch.setattr(session_module, "connect_websocket", connect)
    nobody: Any = SimpleNamespace(add=lambda *args: True, lost=lambda *args: None)
    agent = Session(
        place,  # type: ignore[arg-type]  # as much of an owner as it needs
        place,  # type: ignore[arg-type]  # the same of a seat
        DeepgramCodec(DeepgramOptions("key", "http://127.0.0.1")),
        web=nobody,
        farewells=nobody,
        sessions=nobody,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(agent.run)
        await trio.sleep(0.01)
        await place.talk(20)
        assert socket.alive_at == []
        ended_at = trio.current_time()
        await trio.sleep(25)
        assert [round(at - ended_at) for at in socket.alive_at] == [8, 16, 24]
        await place.talk(20)
        assert len(socket.alive_at) == 3
        socket.full = True  # it takes nothing: what it did not get keeps nothing alive
        await place.talk(5)
        full_until = trio.current_time()
        socket.full = False
        await trio.sleep(12)
        assert 2.9 <= socket.alive_at[3] - full_until <= 8
        nursery.cancel_scope.cancel()
