"""Calls between the server and phones, and what can be checked of any of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from interop.application import Application, CommandFailed, application
from interop.phone_client import Phone, PhoneFailed
from interop.report import Report
from interop.server import Server, running_server

CALL_S = 10.0
HEAR_S = 5.0
END_S = 10.0


@dataclass(frozen=True, slots=True)
class Line:
    """One call: the phone, its number there, and its leg in the server."""

    phone: Phone
    call: int
    leg_id: str

    async def do(self, command: str, /, **arguments: object) -> Mapping[str, object]:
        """Carry out a command of the phone for this call."""
        return await self.phone.do(command, call=self.call, **arguments)


@dataclass(frozen=True, slots=True)
class Bench:
    """A server, the application behind it, and where checks go."""

    report: Report
    server: Server
    app: Application

    async def call_in(
        self,
        phone: Phone,
        user: str,
        *,
        room: str | None = None,
        uri: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Line:
        """Let a phone call a user of the server, answer it, and put it into a room if one is given.

        It is answered only after the binding's `dial` has returned, which misses any answer before that.

        Raises:
            PhoneFailed, CommandFailed: the call does not come about.
        """
        app, before = self.app, len(self.app.of(user, "leg.ringing"))
        dialled = await phone.do("dial", to=uri or self.server.sip_uri(user), headers=headers)
        if not await app.wait(lambda: len(app.of(user, "leg.ringing")) > before, CALL_S):
            raise PhoneFailed(f"{user}: no leg.ringing within {CALL_S:g} s")
        leg_id = str(app.of(user, "leg.ringing")[before]["leg_id"])
        await app.command("answer_leg", id=leg_id)
        return await self._connected(phone, int(str(dialled["call"])), leg_id, room)

    async def call_out(
        self, phone: Phone, user: str, *, room: str | None = None, uri: str | None = None, **options: object
    ) -> Line:
        """Let the server call a phone, which answers by itself; its events are kept under `user`.

        Raises:
            PhoneFailed, CommandFailed: the call does not come about.
        """
        before = len(phone.of("incoming"))
        leg_id = await self.app.dial(uri or phone.uri, user, **options)
        call = await phone.event("incoming", number=before + 1)
        return await self._connected(phone, int(str(call["call"])), leg_id, room)

    async def _connected(self, phone: Phone, call: int, leg_id: str, room: str | None) -> Line:
        await phone.event("call_established", call)
        if await self.app.wait_for(leg_id, "leg.connected", CALL_S) is None:
            raise PhoneFailed(f"{phone.options.user}: no leg.connected within {CALL_S:g} s")
        if room is not None:
            await self.app.command("add_leg_to_room", room_id=room, leg_id=leg_id)
        return Line(phone, call, leg_id)

    def events(self, leg_id: str, kind: str) -> list[Mapping[str, object]]:
        """The events so far of one type for one leg."""
        return [event for event in self.app.events if event["type"] == kind and event.get("leg_id") == leg_id]

    async def count(self, leg_id: str, kind: str, number: int, what: str, within_s: float = 5.0) -> bool:
        """Check that a leg comes to that many events of a type, and no more so far."""
        await self.app.wait(lambda: len(self.events(leg_id, kind)) >= number, within_s)
        return self.report.equal(len(self.events(leg_id, kind)), number, f"{what}: {kind}")

    def is_idle(self) -> bool:
        """Whether every leg that was announced has ended."""
        rung, ended = (
            {event["leg_id"] for event in self.app.events if event["type"] == kind}
            for kind in ("leg.ringing", "leg.disconnected")
        )
        return rung == ended

    async def state(self, leg_id: str) -> str:
        """The state that the server shows of a leg."""
        leg = await self.app.command("get_leg", id=leg_id)
        assert isinstance(leg, dict)
        return str(leg["state"])

    async def hears(
        self, line: Line, what: str, *wanted: int, but_not: Collection[int] = (), within_s: float = HEAR_S
    ) -> bool:
        """Check what a phone comes to hear: all wanted tones, and none of the others, in one stretch."""
        heard = await line.do("listen", wanted=list(wanted), unwanted=list(but_not), within_s=within_s)
        told = " and ".join(f"{hz} Hz" for hz in wanted) or "nothing"
        without = f", not {' or '.join(f'{hz} Hz' for hz in but_not)}" if but_not else ""
        return self.report.check(bool(heard["fits"]), f"{what} hears {told}{without}", heard)

    async def each_hears(self, what: str, one: Line, other: Line) -> None:
        """Check at the same time that two phones hear each other, and not themselves."""
        async with trio.open_nursery() as nursery:
            for line, far in ((one, other), (other, one)):
                name, own_hz = line.phone.options.user, line.phone.options.tone_hz
                nursery.start_soon(self._hears_far, line, f"{what}: {name}", far, own_hz)

    async def _hears_far(self, line: Line, what: str, far: Line, own_hz: int) -> None:
        await self.hears(line, what, far.phone.options.tone_hz, but_not=(own_hz,))

    async def neither_hears(self, what: str, *lines: Line) -> None:
        """Check at the same time that no phone hears any of the tones."""
        tones = [line.phone.options.tone_hz for line in lines]
        async with trio.open_nursery() as nursery:
            for line in lines:
                nursery.start_soon(self._hears_none, line, f"{what}: {line.phone.options.user}", tones)

    async def _hears_none(self, line: Line, what: str, tones: list[int]) -> None:
        await self.hears(line, what, but_not=tones)

    async def end_of(self, leg_id: str) -> str:
        """Wait for the end of a leg and return its reason."""
        ended = await self.app.wait_for(leg_id, "leg.disconnected", END_S)
        cdr = ended.get("cdr") if ended is not None else None
        return str(cdr.get("reason")) if isinstance(cdr, Mapping) else "no leg.disconnected"

    async def ends(self, leg_id: str, reason: str, what: str) -> bool:
        """Check that a leg ends, and why."""
        return self.report.equal(await self.end_of(leg_id), reason, f"{what}: the leg ends with")

    async def hang_up(self, *lines: Line) -> None:
        """Let phones hang up, and wait until the server knows."""
        for line in lines:
            await line.do("hangup")
        for line in lines:
            if await self.app.wait_for(line.leg_id, "leg.disconnected", END_S) is None:
                raise PhoneFailed(f"{line.phone.options.user}: no leg.disconnected within {END_S:g} s")

    async def scenario(self, what: str, act: Callable[[], Awaitable[None]]) -> None:
        """Run one scenario; a step that fails is one failed check and ends the scenario."""
        try:
            await act()
        except* (PhoneFailed, CommandFailed) as group:
            self.report.check(False, what, "; ".join(_messages(group)))


def _messages(group: BaseExceptionGroup[BaseException]) -> Iterator[str]:
    for exc in group.exceptions:
        if isinstance(exc, BaseExceptionGroup):
            yield from _messages(exc)
        else:
            yield str(exc)


@asynccontextmanager
async def running_bench(report: Report, rooms: Collection[str] = (), **settings: str) -> AsyncIterator[Bench]:
    """A server with these settings and rooms for the time of the block; in the end nothing may be left."""
    with TemporaryDirectory(prefix="interop-phones-") as folder:
        async with running_server(Path(folder), settings) as server, application(server.vsi_url, {}) as app:
            for room in rooms:
                await app.command("create_room", id=room, sample_rate=16000)
            bench = Bench(report, server, app)
            yield bench
            await app.wait(bench.is_idle, END_S)
            report.equal(await app.command("list_legs"), [], "no leg is left")
            report.equal(app.failures, [], "no event was dropped")
