"""Agents of a server: at most one beside each leg and in each room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from vb.agents.base import AgentCodec, Busy, CannotInject, NotReady
from vb.agents.runtime.brain import Brain
from vb.agents.runtime.options import Parts
from vb.agents.runtime.rules import RuleBot
from vb.agents.runtime.tally import Tally
from vb.agents.seats import LegSeat, RoomSeat, Seat
from vb.agents.tasks.chat import ChatModel
from vb.agents.tasks.farewells import Farewells
from vb.agents.tasks.runtime import OwnAgent
from vb.agents.tasks.session import Session
from vb.agents.tasks.watching import Watching
from vb.errors import Conflict, InternalError, NotAvailable, NotFound
from vb.ids import IdSource
from vb.legs.leg import Leg
from vb.legs.state import LegState
from vb.local_speech.tasks.speech import LocalSpeech
from vb.local_speech.tasks.turn_model import TurnModel
from vb.metrics import Reading
from vb.mixer.plane import Plane
from vb.mixer.port import Port
from vb.owner import Owner
from vb.providers.failure import ProviderFailed
from vb.rooms.room import AGENT_SLOT, Room
from vb.slots import SlotsClosed, SlotTaken, TaskHandle
from vb.web.tasks.client import WebClient

_ID_BYTES: Final = 4


class Conversation(Protocol):
    """One agent, wherever it runs.

    Attributes:
        over: whether the conversation is over.
        why: set before it is ended by a command: the reason that its last event gives.
    """

    over: bool
    why: str

    @property
    def provider(self) -> str:
        """Return where it runs."""
        ...

    async def run(self) -> None:
        """Converse until it is over, and say so."""
        ...

    async def inject(self, text: str, *, respond: bool) -> None:
        """Put a text into the conversation.

        Raises:
            CannotInject: the provider takes none.
            NotReady: not yet.
            Busy: too much waits already.
            ProviderFailed: it refuses it.
        """
        ...

    def fail(self) -> None:
        """End it because its audio failed here."""
        ...


@dataclass
class Agents:
    """All conversations of a server.

    Attributes:
        ids: for the names of agents in rooms.
        web: the way out to their providers.
        plane: where agents in rooms are mixed.
        local_speech: the engines of this machine, for the server's own agents; None for none.
        tally: what became of the answers of the server's own.
        watching: tells these when users speak.
        turn_model: tells them whether users have finished; None for none.
    """

    ids: IdSource
    web: WebClient
    plane: Plane
    local_speech: LocalSpeech | None = None
    farewells: Farewells = field(init=False)
    watching: Watching = field(init=False)
    turn_model: TurnModel | None = field(init=False, default=None)
    tally: Tally = field(default_factory=Tally)
    _running: dict[str, Conversation] = field(default_factory=dict)
    _seats: dict[str, RoomSeat] = field(default_factory=dict)
    _lost_ms: dict[str, float] = field(default_factory=dict)
    _started: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.farewells = Farewells(self.web)
        self.watching = Watching(self.local_speech)
        if self.local_speech is not None and self.local_speech.judges_turns:
            self.turn_model = TurnModel(self.local_speech)

    async def let_go(self, owner: Owner) -> None:
        """Wait until an agent is gone that is to end, so that another can take its place."""
        session, handle = self._running.get(owner.key), owner.slots.get(AGENT_SLOT)
        if session is not None and handle is not None and _is_to_end(session, handle):
            await handle.join()

    def start(self, owner: Owner, codec: AgentCodec) -> None:
        """Attach an agent that runs at a provider; whether it can be reached shows in its events.

        Raises:
            Conflict: the leg is not connected, nobody is in the room, an agent is there already, or the owner
                is ending.
        """
        self._start(
            owner,
            lambda seat: Session(owner, seat, codec, web=self.web, farewells=self.farewells, sessions=self),
        )

    def start_own(self, owner: Owner, parts: Parts) -> None:
        """Attach an agent that runs here.

        Raises:
            Conflict: as `start`.
        """
        brain: Brain = RuleBot(datetime.now) if parts.chat is None else ChatModel(self.web, parts.chat)
        name = f"agent-{self.ids.token(_ID_BYTES)}"
        self._start(
            owner,
            lambda seat: OwnAgent(
                owner,
                seat,
                parts,
                conversation_id=name,
                brain=brain,
                tally=self.tally,
                watching=self.watching,
                turn_model=self.turn_model,
            ),
        )

    def _start(self, owner: Owner, make: Callable[[Seat], Conversation]) -> None:
        if isinstance(owner, Leg) and owner.shown_state is not LegState.CONNECTED:
            raise Conflict("leg is not connected")
        if owner.slots.get(AGENT_SLOT) is not None:
            raise Conflict("an agent is attached already")
        key, room_seat = owner.key, None
        seat: Seat
        if isinstance(owner, Room):
            owner.check_playable()
            seat = room_seat = RoomSeat(owner, self.plane, f"agent-{self.ids.token(_ID_BYTES)}")
        else:
            assert isinstance(owner, Leg)
            seat = LegSeat(owner)
        conversation = make(seat)

        async def converse() -> None:
            try:
                await conversation.run()
            finally:
                if self._running.get(key) is conversation:
                    del self._running[key]
                self._seats.pop(key, None)

        try:
            owner.slots.start(AGENT_SLOT, converse)
        except SlotTaken:
            raise Conflict("an agent is attached already") from None
        except SlotsClosed:
            raise Conflict("it is ending") from None
        self._running[key] = conversation
        self._started[conversation.provider] += 1
        if room_seat is not None:
            self._seats[key] = room_seat

    def stop(self, owner: Owner) -> None:
        """Let an agent go; it is silent at once, and its last event follows.

        Raises:
            NotFound: there is none.
        """
        session = self._find(owner)
        session.why = "stopped"
        handle = owner.slots.get(AGENT_SLOT)
        if handle is not None:
            handle.cancel()

    async def inject(self, owner: Owner, text: str, *, respond: bool) -> None:
        """Put a text into the conversation of an agent.

        Raises:
            NotFound: there is none.
            Conflict: its conversation has not begun or is over.
            NotAvailable: its provider takes no text.
            InternalError: its provider refuses it.
        """
        session = self._find(owner)
        if session.over:
            raise Conflict("the agent's conversation is over")
        try:
            await session.inject(text, respond=respond)
        except CannotInject:
            raise NotAvailable(f"{session.provider} takes no text") from None
        except NotReady:
            raise Conflict("the agent is not ready yet") from None
        except Busy:
            raise Conflict("too much waits to be said") from None
        except ProviderFailed as failed:
            raise InternalError(str(failed)) from None

    async def say(self, owner: Owner, text: str, *, uninterruptible: bool) -> None:
        """Let an agent say a text, word for word.

        Raises:
            NotFound: there is none.
            Conflict: its conversation has not begun or is over, or too much waits to be said.
            NotAvailable: it does not run here.
        """
        session = self._find(owner)
        if session.over:
            raise Conflict("the agent's conversation is over")
        if not isinstance(session, OwnAgent):
            raise NotAvailable(f"{session.provider} says nothing word for word")
        try:
            await session.say(text, uninterruptible=uninterruptible)
        except NotReady:
            raise Conflict("the agent is not ready yet") from None
        except Busy:
            raise Conflict("too much waits to be said") from None

    def _find(self, owner: Owner) -> Conversation:
        session, handle = self._running.get(owner.key), owner.slots.get(AGENT_SLOT)
        if session is None or handle is None or _is_to_end(session, handle):
            raise NotFound("no agent attached")
        return session

    def port_failed(self, port: Port) -> bool:
        """Let the agent go whose audio failed in the plane; returns whether it was one in a room."""
        for key, seat in self._seats.items():
            if seat.port is port:
                self._running[key].fail()
                return True
        return False

    def lost(self, what: str, milliseconds: float) -> None:
        """Count audio that was dropped."""
        self._lost_ms[what] = self._lost_ms.get(what, 0.0) + milliseconds

    def readings(self) -> Iterator[Reading]:
        """Give the figures of agents for the metrics."""
        yield "agents", "Agents attached to legs and rooms", len(self._running), {}
        for provider, count in self._started.items():
            yield "agents_started", "Agents attached since the start", count, {"provider": provider}
        for what, milliseconds in self._lost_ms.items():
            text = "Audio from and to agents that was dropped"
            yield "agent_audio_lost_seconds", text, milliseconds / 1000, {"direction": what}
        yield from self.tally.readings()
        yield from self.watching.readings()
        text = "Providers of agents whose connection was cut because too many goodbyes were being said"
        yield "agent_farewells_skipped", text, self.farewells.skipped, {}


def _is_to_end(session: Conversation, handle: TaskHandle) -> bool:
    """Say whether an agent was stopped, or its room was empty: it only has its last event to tell."""
    return bool(session.why) or handle.ending
