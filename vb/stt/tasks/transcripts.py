"""Transcriptions of legs and rooms: one at a time for each of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final

import trio

from vb.errors import Conflict, NotFound
from vb.legs.leg import Leg
from vb.legs.state import LegState
from vb.metrics import Reading
from vb.rooms.room import Room
from vb.slots import SlotsClosed, SlotTaken
from vb.stt.asking import choose
from vb.stt.base import Options, Provider
from vb.stt.tasks.transcriber import FAREWELL_S, PATIENCE_S, Figures, Transcriber

SLOT: Final = "stt"
RUNNING: Final = "STT already running"


class RoomTranscription:
    """The transcription of a room: one transcriber for each leg in it, as long as one of them runs.

    Those who come later get one too, with the same options; that of who leaves ends.

    Args:
        host: starts the transcribers.
        room: whose members are followed.
        provider: who listens.
        options: how.
    """

    def __init__(self, host: Transcripts, room: Room, provider: Provider, options: Options) -> None:
        self._host = host
        self._room = room
        self._provider = provider
        self._options = options
        self._running: dict[str, Transcriber] = {}
        self._live = 0
        self._over = trio.Event()

    def start(self) -> list[str]:
        """Listen to everybody who is there, and to those who will come; returns who is listened to.

        Raises:
            Conflict: nobody is there.
        """
        for leg in list(self._room.members.values()):
            self.joined(leg)
        if not self._running:
            raise Conflict("room has no participants")
        self._room.watchers = (*self._room.watchers, self)
        return list(self._running)

    def joined(self, leg: Leg) -> None:
        """Listen to a leg that has come."""
        if self._over.is_set() or leg.port is None:
            return
        transcriber = self._host.make(leg, self._provider, self._options, room_id=self._room.id)
        try:
            leg.slots.start(f"{SLOT} {self._host.count}", partial(self._run, transcriber))
        except SlotsClosed:
            return  # it is about to leave again
        self._live += 1
        self._running[leg.id] = transcriber

    def left(self, leg: Leg) -> None:
        """Let the transcription of a leg that has gone end with its last words."""
        transcriber = self._running.pop(leg.id, None)
        if transcriber is not None:
            transcriber.stop()

    async def _run(self, transcriber: Transcriber) -> None:
        try:
            await self._host.run(transcriber)
        finally:
            if self._running.get(transcriber.leg.id) is transcriber:
                del self._running[transcriber.leg.id]
            self._live -= 1
            if not self._live:
                self._over.set()

    def stop(self, patience_s: float = PATIENCE_S) -> None:
        """End all of it; last words are waited for so long."""
        self._room.watchers = tuple(other for other in self._room.watchers if other is not self)
        for transcriber in list(self._running.values()):
            transcriber.stop(patience_s)

    async def run(self) -> None:
        """Wait until the last transcriber has ended.

        Cancellation: all of them are stopped, and their last words come before it returns.
        """
        try:
            await self._over.wait()
        finally:
            self.stop(FAREWELL_S)
            with trio.CancelScope(shield=True):  # each of them ends within a second
                if self._live:
                    await self._over.wait()


class Transcripts:
    """All transcriptions of a server.

    Args:
        providers: those that listen, by name.

    Attributes:
        count: how many transcribers there have been.
    """

    def __init__(self, providers: Iterable[Provider]) -> None:
        self.providers: Mapping[str, Provider] = {provider.name: provider for provider in providers}
        self.count = 0
        self._figures = Figures()
        self._legs: dict[str, Transcriber] = {}
        self._rooms: dict[str, RoomTranscription] = {}
        self._transcribers: set[Transcriber] = set()

    def choose(self, name: str, options: Options) -> Provider:
        """Return the provider that a request names, "" for the default one, if it can do what is asked.

        Raises:
            Unavailable: there is no such provider, it has no key, or it is not ready.
            NotAvailable: it is not installed.
            BadRequest: it can never do what is asked.
        """
        return choose(self.providers, name, options)

    # -- legs ----------------------------------------------------------------------------------------------

    def start_leg(self, leg: Leg, provider: Provider, options: Options) -> None:
        """Transcribe what a leg says, wherever it is, until it ends.

        Raises:
            Conflict: it is not connected or on hold, it is ending, or it is transcribed already.
        """
        if leg.state is not LegState.CONNECTED or leg.held:
            raise Conflict(f"leg must be connected, current state: {leg.shown_state}")
        if leg.port is None:
            raise Conflict("leg has no audio")
        transcriber = self.make(leg, provider, options, room_id=None)

        async def run() -> None:
            try:
                await self.run(transcriber)
            finally:
                if self._legs.get(leg.key) is transcriber:
                    del self._legs[leg.key]

        try:
            leg.slots.start(SLOT, run)
        except SlotTaken:
            raise Conflict(RUNNING) from None
        except SlotsClosed:
            raise Conflict("leg is ending") from None
        self._legs[leg.key] = transcriber

    async def stop_leg(self, leg: Leg) -> None:
        """End a leg's transcription; its last words are published before it returns.

        Raises:
            NotFound: there is none.
        """
        transcriber = self._legs.pop(leg.key, None)
        if transcriber is None:
            raise NotFound("no STT in progress")
        transcriber.stop()
        handle = leg.slots.get(SLOT)
        if handle is not None:
            await handle.join()

    def finalize(self, leg: Leg) -> None:
        """Ask for what a leg has said up to now as final.

        Raises:
            NotFound: it is not transcribed.
            NotAvailable: its provider cannot do that.
            Conflict: there is no connection to the provider now.
        """
        transcriber = self._legs.get(leg.key)
        if transcriber is None:
            raise NotFound("no STT in progress")
        transcriber.finalize()

    # -- rooms ---------------------------------------------------------------------------------------------

    def start_room(self, room: Room, provider: Provider, options: Options) -> list[str]:
        """Transcribe everybody in a room, each apart; returns who is there.

        Raises:
            Conflict: nobody is there, the room is ending, or it is transcribed already.
        """
        if not room.members:
            raise Conflict("room has no participants")
        if room.slots.get(SLOT) is not None:
            raise Conflict(RUNNING)
        transcription = RoomTranscription(self, room, provider, options)

        async def run() -> None:
            try:
                await transcription.run()
            finally:
                if self._rooms.get(room.key) is transcription:
                    del self._rooms[room.key]

        leg_ids = transcription.start()
        try:
            room.slots.start(SLOT, run)
        except SlotsClosed:
            transcription.stop()
            raise Conflict("room is ending") from None
        self._rooms[room.key] = transcription
        return leg_ids

    async def stop_room(self, room: Room) -> None:
        """End a room's transcription; its last words are published before it returns.

        Raises:
            NotFound: there is none.
        """
        transcription = self._rooms.pop(room.key, None)
        if transcription is None:
            raise NotFound("no STT in progress")
        transcription.stop()
        handle = room.slots.get(SLOT)
        if handle is not None:
            await handle.join()

    # -- transcribers --------------------------------------------------------------------------------------

    def make(self, leg: Leg, provider: Provider, options: Options, *, room_id: str | None) -> Transcriber:
        """Return a transcriber that does not run yet."""
        self.count += 1
        return Transcriber(leg, provider, options, room_id=room_id, figures=self._figures, phase=self.count)

    async def run(self, transcriber: Transcriber) -> None:
        """Run a transcriber to its end; as `Transcriber.run`."""
        self._transcribers.add(transcriber)
        try:
            await transcriber.run()
        finally:
            self._transcribers.discard(transcriber)

    def readings(self) -> Iterable[Reading]:
        """Return gauges for the metrics."""
        figures = self._figures
        dropped = figures.dropped_frames + sum(each.dropped_frames for each in self._transcribers)
        yield "stt_running", "Legs that are transcribed now", figures.running, {}
        yield (
            "stt_reconnects",
            "Connections for transcripts that replaced one that failed",
            figures.reconnects,
            {},
        )
        text = "Frames of 20 ms that were not transcribed because the provider was away or slow"
        yield "stt_frames_dropped", text, dropped, {}
        for category, count in figures.errors.items():
            text = "Transcriptions that ended because their provider failed"
            yield "stt_errors", text, count, {"category": category}
