"""What the application does with the calls of a soak: by the name that was dialled, on a timetable."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from bench.application import Application
from bench.events import Message
from bench.server import Server

Payload = Mapping[str, object]

ROOM: Final = "?room"
"""Stands for one of the standing rooms, another one at each place."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command that is due some time after the call is connected.

    A payload names the leg by `id` unless it says `leg_id` or `room_id`.
    """

    after_s: float
    command: str
    payload: Payload


@dataclass(frozen=True, slots=True)
class Script:
    """What becomes of a call.

    Attributes:
        answer: whether it is answered alone; otherwise it is put into a room at once.
        steps: what follows.
        tells: types of all events of the leg, in their order.
    """

    answer: bool
    steps: tuple[Step, ...]
    tells: tuple[str, ...]


def _alone(*steps: Step, tells: tuple[str, ...]) -> Script:
    return Script(True, steps, ("leg.ringing", "leg.connected", *tells, "leg.disconnected"))


def _mixed(*steps: Step, tells: tuple[str, ...]) -> Script:
    return Script(False, steps, ("leg.ringing", "leg.connected", *tells, "leg.disconnected"))


PRESSED: Final = "42#"
SCRIPTS: Final[Mapping[str, Script]] = {
    "join": _mixed(tells=("leg.joined_room", "leg.left_room")),
    "move": _mixed(
        Step(1.0, "add_leg_to_room", {"room_id": ROOM}),
        Step(2.5, "remove_leg_from_room", {"room_id": ROOM}),
        tells=("leg.joined_room", "leg.left_room", "leg.joined_room", "leg.left_room"),
    ),
    "record": _mixed(
        Step(0.5, "leg_record_start", {}),
        tells=("leg.joined_room", "recording.started", "leg.left_room", "recording.finished"),
    ),
    "play": _alone(
        Step(0.3, "leg_play_start", {"tone": "us_dial", "repeat": -1}),
        tells=("playback.started", "playback.finished"),
    ),
    "digits": _alone(
        Step(1.5, "send_leg_dtmf", {"digits": "17*"}),
        tells=("dtmf.received",) * len(PRESSED),
    ),
    "hold": _alone(Step(0.5, "hold_leg", {}), Step(2.0, "unhold_leg", {}), tells=("leg.hold", "leg.unhold")),
    "transfer": _alone(
        Step(1.0, "leg_transfer", {"target": "sip:elsewhere@127.0.0.1"}),
        tells=("leg.transfer_initiated", "leg.transfer_progress", "leg.transfer_completed"),
    ),
    "drop": _alone(Step(2.0, "delete_leg", {}), tells=()),
}
PRESSES: Final = {"digits": PRESSED}


class ScriptedApplication(Application):
    """Puts standing callers into the rooms that they dial and runs a script for everybody else.

    Args:
        server: whom to connect to.
        observers: further clients that only listen.
        standing: how many callers stand; they have the lowest numbers.
        rooms: what they dial.
        seed: of all that is drawn.

    Attributes:
        astray: calls that were not told as their script has it, by script.
        examples: some of them.
        done: calls that were, by script.
    """

    def __init__(
        self, server: Server, observers: int, *, standing: int, rooms: tuple[str, ...], seed: int
    ) -> None:
        super().__init__(server, observers)
        self.astray: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.examples: list[str] = []
        self._standing = standing
        self._rooms = rooms
        self._random = random.Random(seed)
        self._names: dict[str, str] = {}
        self._told: dict[str, list[tuple[float, str]]] = {}
        self._places: dict[str, str] = {}
        self._due: list[tuple[float, int, str, Step]] = []
        self._steps = 0

    def pump(self, timeout_s: float) -> None:
        """Handle what has come and carry out what is due."""
        super().pump(min(timeout_s, 0.02))
        while self._due and self._due[0][0] <= monotonic():
            _, _, leg_id, step = heapq.heappop(self._due)
            if leg_id in self._names:
                self._carry_out(leg_id, step)

    def on_ringing(self, leg_id: str, number: int, dialled: str) -> None:
        """Take a new call: a standing one into its room, any other by its script."""
        if number < self._standing:
            super().on_ringing(leg_id, number, dialled)
            return
        self._names[leg_id] = dialled
        if SCRIPTS[dialled].answer:
            self.command("answer_leg", id=leg_id)
        else:
            self._enter_room(leg_id)

    def react(self, message: Message) -> None:
        """Do what the script of the leg says."""
        super().react(message)
        leg_id = str(message.get("leg_id"))
        name = self._names.get(leg_id)
        kind = message.get("type")
        if kind == "recording.finished":
            # Files of a long run would fill the disk.
            Path(str(message["file"])).unlink(missing_ok=True)
        if name is None:
            return
        self._told.setdefault(leg_id, []).append((monotonic(), str(kind)))
        if kind == "leg.connected":
            for step in SCRIPTS[name].steps:
                self._steps += 1
                heapq.heappush(self._due, (monotonic() + step.after_s, self._steps, leg_id, step))
        elif kind == "leg.disconnected":
            self._close_book(leg_id, name)

    def _carry_out(self, leg_id: str, step: Step) -> None:
        if step.command == "add_leg_to_room":
            self._enter_room(leg_id)
        elif step.command == "remove_leg_from_room":
            self.command(step.command, room_id=self._places[leg_id], leg_id=leg_id)
        else:
            self.command(step.command, id=leg_id, **step.payload)

    def _enter_room(self, leg_id: str) -> None:
        others = [room for room in self._rooms if room != self._places.get(leg_id)]
        room = self._places[leg_id] = self._random.choice(others)
        self.command("add_leg_to_room", room_id=room, leg_id=leg_id)

    def _close_book(self, leg_id: str, name: str) -> None:
        """Compare what was told with the script, and forget the leg."""
        times = self._told.pop(leg_id)
        for number, log in enumerate(self.logs):
            told = log.by_leg.pop(leg_id, [])
            if number == 0 and tuple(told) != SCRIPTS[name].tells:
                self.astray[name] += 1
                shown = " ".join(f"{kind}@{at - times[0][0]:.2f}" for at, kind in times)
                self.examples.append(f"caller {self.numbers[leg_id]}, {name}: {shown}")
            elif number == 0:
                self.done[name] += 1
        del self._names[leg_id]
        self._places.pop(leg_id, None)
        caller = self.numbers.pop(leg_id)
        del self.legs[caller]
        self.quality.pop(caller, None)
