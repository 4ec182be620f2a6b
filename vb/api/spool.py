"""The durable webhook spool: a journal of events that are not delivered yet.

Every event is written before it is tried, and crossed out after. What a stop or a kill left behind is found
at the next start and goes out with the same event id. A write goes to the page cache, so it survives the
process, though not a power cut. The journal holds webhook secrets, so only its owner may read it.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from vb.events.hooks import Hook

log = structlog.get_logger(__name__)

PREFIX: Final = "webhooks-"
_COMPACT_BYTES: Final = 1_048_576


@dataclass(frozen=True, slots=True)
class Spooled:
    """An event that an earlier run did not deliver.

    Attributes:
        hook: where it belongs; None for the global hook of this run.
    """

    event_id: str
    kind: str
    body: bytes
    hook: Hook | None


class Spool:
    """The journal of one run.

    Args:
        directory: where journals lie; created when missing.

    Raises:
        OSError: the directory or the journal cannot be made.
    """

    def __init__(self, directory: str, *, token: str) -> None:
        self._directory = Path(directory)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = self._directory / f"{PREFIX}{token}.jsonl"
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._open: set[str] = set()
        self._size = 0
        self.errors = 0

    def recover(self) -> list[Spooled]:
        """Return what earlier runs left undelivered, oldest first, after taking it over into this journal."""
        found: list[Spooled] = []
        for path in sorted(
            self._directory.glob(f"{PREFIX}*.jsonl"), key=lambda item: item.stat().st_mtime_ns
        ):
            if path == self._path:
                continue
            entries = _read_unlocked(path)
            if entries is None:
                continue
            for entry in entries:
                self.append(entry.event_id, entry.kind, entry.body, entry.hook)
            found.extend(entries)
            path.unlink(missing_ok=True)
        return found

    def append(self, event_id: str, kind: str, body: bytes, hook: Hook | None) -> None:
        """Note an event before it is tried; None stands for the global hook."""
        entry: dict[str, Any] = {"id": event_id, "type": kind, "body": body.decode()}
        if hook is not None:
            entry |= {"url": hook.url, "secret": hook.secret}
        self._open.add(event_id)
        self._write(entry)

    def settle(self, event_id: str) -> None:
        """Cross out an event: it was delivered or given up for good."""
        if event_id not in self._open:
            return
        self._open.remove(event_id)
        if not self._open and self._size > _COMPACT_BYTES:
            os.ftruncate(self._fd, 0)
            self._size = 0
        else:
            self._write({"done": event_id})

    def _write(self, entry: dict[str, Any]) -> None:
        data = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        try:
            self._size += os.write(self._fd, data)
        except OSError as exc:
            self.errors += 1
            log.error("webhook spool cannot be written", problem=exc.strerror)

    def close(self) -> None:
        """Let go of the journal; an empty one is removed. Closing again is fine."""
        if self._fd < 0:
            return
        if not self._open:
            self._path.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = -1


def _read_unlocked(path: Path) -> list[Spooled] | None:
    """Return the open entries of a journal, None when its run still lives."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return None
        entries: dict[str, Spooled] = {}
        for line in file:
            try:
                entry = json.loads(line)
                if "done" in entry:
                    entries.pop(entry["done"], None)
                    continue
                hook = Hook(entry["url"], entry["secret"]) if "url" in entry else None
                entries[entry["id"]] = Spooled(entry["id"], entry["type"], entry["body"].encode(), hook)
            except (ValueError, KeyError, TypeError, AttributeError):
                log.warning("damaged line in a webhook journal", journal=path.name)
        return list(entries.values())
