"""The durable webhook spool: what is not delivered yet, in a queue that outlives the process.

Every event is noted when it is published and crossed out when it was delivered or given up. What a stop or a
kill left behind is found at the next start and goes out with the same event id.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
import trio

from vb.api.spool_journals import Journals
from vb.durable.queue import DurableQueue, InThread, Item, one_thread
from vb.events.hooks import Hook
from vb.metrics import Reading

log = structlog.get_logger(__name__)

TOPIC: Final = "webhook"
NAME: Final = "webhooks"
WRITTEN_S: Final = 0.5
"""How long the reply to a command waits at most for the disk."""
_to_json: Final = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(slots=True, eq=False)
class Entry:
    """An event that is not delivered.

    Attributes:
        hook: where it belongs; None for the global hook of whichever run delivers it.
        item: its place in the queue.
    """

    event_id: str
    kind: str
    hook: Hook | None
    item: Item


class Spool:
    """The spool of one run; made by `open`.

    Args:
        queue: keeps the events.
    """

    def __init__(self, queue: DurableQueue) -> None:
        self.queue = queue
        self._hooks: dict[Hook, Hook] = {}

    @classmethod
    async def open(
        cls,
        directory: str,
        *,
        wall_clock_ns: Callable[[], int] = time.time_ns,
        in_thread: InThread | None = None,
    ) -> Spool:
        """Open the spool with what earlier runs left in the folder; any number of servers may share it.

        Args:
            directory: made when missing.
            wall_clock_ns: Unix time; new entries come after those of earlier runs.
            in_thread: does the blocking work, where no thread shall.

        Raises:
            OSError: the folder cannot be used. A full disk is only counted and logged.
        """
        in_thread = in_thread or one_thread()
        queue = await DurableQueue.open(directory, NAME, wall_clock_ns=wall_clock_ns, in_thread=in_thread)
        await _take_over_journals(queue, directory, wall_clock_ns(), in_thread)
        return cls(queue)

    def __len__(self) -> int:
        return len(self.queue)

    def entries(self) -> list[Entry]:
        """Return everything that is not delivered, oldest first."""
        found = []
        for item in self.queue.waiting(TOPIC):
            try:
                kind, hook = _read_label(item.label)
            except ValueError as error:
                self.queue.failures["damaged"] += 1
                log.error("damaged entry in the webhook spool", event_id=item.key, problem=str(error))
                self.queue.done(item)
                continue
            if hook is not None:
                hook = self._hooks.setdefault(hook, hook)
            found.append(Entry(item.key, kind, hook, item))
        return found

    def append(self, event_id: str, kind: str, body: bytes, hook: Hook | None) -> Entry | None:
        """Note an event before it is tried, never waiting.

        Args:
            event_id: goes out with it.
            kind: its type.
            body: UTF-8.
            hook: where it belongs; None for the global hook.

        Returns:
            None when it could not be kept, which is counted and logged.
        """
        item = self.queue.put(TOPIC, event_id, body, make_label(kind, hook))
        return None if item is None else Entry(event_id, kind, hook, item)

    async def read(self, entries: Sequence[Entry]) -> list[bytes | None]:
        """Return the bodies of entries; None for one that cannot be read any more."""
        return await self.queue.read([entry.item for entry in entries])

    def settle(self, entry: Entry) -> None:
        """Cross out an entry: it was delivered or given up for good. Doing so again is harmless."""
        self.queue.done(entry.item)

    def readings(self) -> Iterator[Reading]:
        """Give the metrics of the spool."""
        yield "webhook_spool_events", "Events that the spool keeps", len(self), {}
        yield "webhook_spool_bytes", "What the spool takes up on the disk", self.queue.size, {}
        text = "Events and notes that the spool could not write, keep or read"
        for reason, count in self.queue.failures.items():
            yield "webhook_spool_failures", text, count, {"reason": reason}

    async def written(self) -> None:
        """Wait until everything that was noted so far is on the disk, or could not be written."""
        with trio.move_on_after(WRITTEN_S):
            await self.queue.written()

    async def run(self) -> None:
        """Write what is noted, until cancelled."""
        await self.queue.run()

    async def close(self) -> None:
        """Write what is left, and let go of the folder. Closing again is fine."""
        await self.queue.close()


async def _take_over_journals(queue: DurableQueue, directory: str, now_ns: int, in_thread: InThread) -> None:
    """Move what runs of earlier versions left into the queue, and remove their files."""
    journals = await in_thread(Journals, directory)
    try:
        queue.failures["damaged"] += journals.damaged
        if journals.entries:
            await queue.adopt([entry.record(TOPIC, now_ns) for entry in journals.entries])
        await in_thread(journals.remove)
    except OSError as error:
        log.error("webhooks of an earlier version stay where they are", problem=str(error))
    finally:
        journals.close()


def make_label(kind: str, hook: Hook | None) -> str:
    """Return what has to be known of an event besides its id and body."""
    values: dict[str, Any] = {"type": kind}
    if hook is not None:
        values |= {"url": hook.url, "secret": hook.secret}
    return _to_json(values)


def _read_label(label: str) -> tuple[str, Hook | None]:
    """Return type and hook of an event.

    Raises:
        ValueError: it is damaged.
    """
    try:
        values = json.loads(label)
        kind, url = values["type"], values.get("url")
        hook = None if url is None else Hook(url, values["secret"])
    except (KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("it says not what it is") from None
    if not isinstance(kind, str) or (hook and not (isinstance(url, str) and isinstance(hook.secret, str))):
        raise ValueError("it says not what it is")
    return kind, hook
