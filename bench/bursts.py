"""Much happens at once: what is told of it, to whom, and how late the media gets."""

from __future__ import annotations

import select
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from bench.application import CALL_EVENTS
from bench.bed import RAMP_MOST_UNFINISHED, RAMP_RATE, SHOWN_FAULTS, Bed, Load, open_bed, set_up
from bench.cases import BurstCase
from bench.events import is_event, lost_events
from bench.host import placements
from bench.outcome import BurstFigures, Options, Outcome
from bench.receiver import Receiver, running_receiver
from bench.websocket import ConnectionEnded, WebSocket

OBSERVERS: Final = 2
ORDINARY_S: Final = 3.0
QUIET_S: Final = 1.0
"""So long nothing may come any more for a burst to be over."""
MOST_S: Final = 60.0
UNREAD_S: Final = {"delete": 4.0, "hang up": 4.0, "stop": 1.5}
"""How long the client that does not read waits before it does; a stop waits for it only briefly."""
CATCH_UP_S: Final = 0.05
"""How long it reads before the others have their turn."""
SOON_S: Final = 0.005
RATE: Final = 2000.0
ROOM: Final = "crowd"
TALKERS: Final = 20
BUFFER: Final = 16
"""What may wait for a client that does not read: little, as those that do read must not feel it."""


class Unread:
    """A VSI client that reads nothing until it is told to."""

    def __init__(self, host: str, port: int) -> None:
        self._client = WebSocket(host, port, "/v1/vsi", receive_buffer=4096)
        self._ended = False
        self.read = 0
        self.told = 0

    def catch_up(self) -> bool:
        """Read for a moment what comes; says whether anything did.

        Those who read all along are read between two calls: whoever waited for this client alone would make
        them clients that do not read either.
        """
        until, came = time.monotonic() + CATCH_UP_S, False
        while not self._ended and time.monotonic() < until:
            if not select.select([self._client], [], [], SOON_S)[0]:
                break
            came = True
            try:
                for message in self._client.take():
                    self.read += is_event(message)
                    if message.get("type") == "events_dropped":
                        self.told += int(str(message["count"]))
            except (ConnectionEnded, TimeoutError):
                self.close()
        return came

    def close(self) -> None:
        """Leave."""
        self._ended = True
        self._client.close()


def run_burst(case: BurstCase, checkout: Path, options: Options) -> Outcome:
    """Set calls up, let them all end at once, and count who was told of it."""
    load = Load(case.legs, probes=1, observers=OBSERVERS, talkers=TALKERS)
    _, place = placements(realtime=options.realtime)
    with running_receiver(place) as receiver:
        settings = {
            "WEBHOOK_URL": f"http://127.0.0.1:{receiver.port}/hook",
            "VB_STOP_TIMEOUT": "30s",
            "VSI_EVENT_BUFFER_SIZE": str(BUFFER),
        }
        with open_bed(checkout, load, settings, options) as bed:
            rooms = ["standing" if leg < TALKERS else ROOM for leg in range(case.legs)]
            # Those who are listened to are the first legs. They call last and so are the last to end.
            faults = set_up(bed, rooms, RAMP_RATE, RAMP_MOST_UNFINISHED, last_first=True)
            _settle(bed, receiver)
            bed.generator.mark()
            bed.wait(ORDINARY_S)
            ordinary = bed.generator.egress()
            unread = Unread(bed.server.http_host, bed.server.http_port)
            known = len(bed.application.logs[0].ids)
            bed.generator.mark()
            began, used = time.monotonic(), bed.server.cpu_s()
            _begin(case, bed)
            took_s = _follow(case, bed, unread, began)
            egress = bed.generator.egress()
            used = bed.server.cpu_s() - used if case.kind != "stop" else float("nan")
            if case.kind == "stop":
                bed.server.wait_ended()
            hooks = _hooks(case, bed, receiver)
            burst = len(bed.application.logs[0].ids) - known
            faults += _faults(case, bed, hooks, unread, burst)
            legs = [bed.application.legs.get(number, f"of call {number}") for number in range(case.legs)]
            ended = legs if case.kind != "delete" else legs[TALKERS:]
            figures = BurstFigures(
                events=burst,
                took_s=took_s,
                events_lost=lost_events(bed.application.logs, dict.fromkeys(ended, CALL_EVENTS)),
                webhooks_lost=len(set(bed.application.logs[0].ids) - set(hooks)),
                unread=unread.read,
                unread_told=unread.told,
                ordinary=ordinary,
                egress=egress,
                cpu_ms=used * 1000 / len(ended),
                load=bed.generator.lateness(),
            )
    return Outcome(figures, tuple(faults))


def _settle(bed: Bed, receiver: Receiver) -> None:
    """Wait until the webhooks of the set-up are through."""
    bed.application.pump_until(
        lambda: len(receiver.ids()) >= len(bed.application.logs[0].ids), MOST_S, step_s=0.5
    )


def _begin(case: BurstCase, bed: Bed) -> None:
    match case.kind:
        case "delete":
            bed.application.command("delete_room", id=ROOM)
        case "hang up":
            bed.generator.hang_up(RATE)
        case "stop":
            bed.server.signal(signal.SIGTERM)


def _follow(case: BurstCase, bed: Bed, unread: Unread, began: float) -> float:
    """Read until nothing comes any more; returns how long it took until the last event came."""
    application, last, seen = bed.application, began, -1
    came_at: float | None = None
    while (now := time.monotonic()) - began < MOST_S:
        with suppress(ConnectionEnded):
            application.pump(0.05)
        count = sum(len(log.ids) for log in application.logs)
        if count != seen:
            seen, last = count, now
        if now - began > UNREAD_S[case.kind] and (unread.catch_up() or came_at is None):
            came_at = now
        if (
            came_at is not None
            and now - max(last, came_at) > QUIET_S
            and (case.kind != "stop" or not application.is_connected)
        ):
            break
    unread.close()
    return last - began


def _hooks(case: BurstCase, bed: Bed, receiver: Receiver) -> list[str]:
    """Return the ids that the receiver got, once no more of them come."""
    deadline, ids = time.monotonic() + MOST_S, receiver.ids()
    wanted = len(bed.application.logs[0].ids)
    while len(ids) < wanted and time.monotonic() < deadline:
        time.sleep(0.2)  # noqa: TID251 - this process has no event loop
        ids = receiver.ids()
    return ids


def _faults(case: BurstCase, bed: Bed, hooks: list[str], unread: Unread, burst: int) -> list[str]:
    application = bed.application
    faults = [
        f"client {number}: {log.dropped} events dropped"
        for number, log in enumerate(application.logs)
        if log.dropped
    ]
    told = set(application.logs[0].ids)
    missing = len(told - set(hooks))
    if missing:
        faults.append(f"{missing} of {len(told)} events did not reach the webhook")
    if unread.read + unread.told != burst:
        faults.append(f"who did not read got {unread.read} and was told of {unread.told}, of {burst}")
    return faults + application.errors[:SHOWN_FAULTS]
