"""What the calls API answers: parameters in, models out, or one error with the right status.

All of it blocks on the database, so callers run it in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from vb.errors import Conflict, InvalidField, NotFound
from vb.history.change import PROCESS_LOST
from vb.history.files import delete_files, recovered_file
from vb.history.find import Page
from vb.history.model import (
    Call,
    CallDetail,
    CallDetailList,
    EntryList,
    MessageList,
    PaginatedCallList,
    QualityList,
)
from vb.history.present import (
    entry_of,
    lines_of,
    said_in,
    show_call,
    show_detail,
    show_entry,
    show_message,
    show_quality,
    stored_objects,
)
from vb.history.quality import rows_of
from vb.history.query import MAX_PAGE, Position, parse_query
from vb.history.store import Store
from vb.storage.address import StoredObject

CALLS_PATH: Final = "/api/calls"
DETAILS_PATH: Final = f"{CALLS_PATH}/details"
DEFAULT_ENTRIES: Final = 200
AUDIO: Final = "audio/wav"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """A recording that can be read.

    Attributes:
        path: of the file.
        media_type: of its content.
    """

    path: Path
    media_type: str = AUDIO


def parse_call_id(text: str) -> UUID:
    """Return the id of a call from a path.

    Raises:
        NotFound: it is no UUID, so no call has it.
    """
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("call not found") from None


def list_calls(store: Store, pairs: Iterable[tuple[str, str]], base_url: str = "") -> PaginatedCallList:
    """List calls.

    Args:
        store: where they are.
        pairs: names and values of the request's query.
        base_url: scheme and host that the client sees.

    Raises:
        InvalidField: a parameter is malformed.
        Unavailable: the database is away.
    """
    page, following, previous = _page(store, list(pairs), f"{base_url}{CALLS_PATH}")
    results: list[Call] = [show_call(found.call_id, found.document) for found in page.calls]
    return PaginatedCallList(next=following, previous=previous, results=results, total=page.total)


def list_details(store: Store, pairs: Iterable[tuple[str, str]], base_url: str = "") -> CallDetailList:
    """List calls as `list_calls` does, each as `get_call` shows it.

    Raises:
        InvalidField: a parameter is malformed.
        Unavailable: the database is away.
    """
    page, following, previous = _page(store, list(pairs), f"{base_url}{DETAILS_PATH}")
    results = [show_detail(found.call_id, found.document) for found in page.calls]
    return CallDetailList(next=following, previous=previous, results=results, total=page.total)


def _page(store: Store, pairs: list[tuple[str, str]], url: str) -> tuple[Page, str | None, str | None]:
    """Return a page of calls and the URLs of those after and before it."""
    query = parse_query(pairs)
    page = store.page(query)

    def link(place: Position | None) -> str | None:
        if place is None:
            return None
        kept = [(name, value) for name, value in pairs if name != "cursor"]
        return f"{url}?{urlencode([*kept, ('cursor', query.cursor(place))])}"

    return page, link(page.next), link(page.previous)


def get_call(store: Store, call_id: str) -> CallDetail:
    """Show a call.

    Raises:
        NotFound: there is no such call.
        Unavailable: the database is away.
    """
    found = store.get(parse_call_id(call_id))
    return show_detail(found.call_id, found.document)


def list_entries(
    store: Store, call_id: str, pairs: Iterable[tuple[str, str]] = (), base_url: str = ""
) -> EntryList:
    """List what happened in a call: events and SIP messages, in order.

    Raises:
        InvalidField: a parameter is malformed.
        NotFound: there is no such call.
        Unavailable: the database is away.
    """
    story = store.story(parse_call_id(call_id))
    lines = lines_of(story.parts)
    asked = list(pairs)
    start, size = _slice(asked)
    link = _linker(f"{base_url}{CALLS_PATH}/{story.call.call_id}/events", asked)
    chosen = [
        show_entry(number, entry_of(line))
        for number, line in enumerate(lines[start : start + size], start + 1)
    ]
    following, previous = _neighbours(start, size, len(lines), link)
    return EntryList(next=following, previous=previous, results=chosen, total=len(lines))


def list_messages(
    store: Store, call_id: str, pairs: Iterable[tuple[str, str]] = (), base_url: str = ""
) -> MessageList:
    """List what was said in a call, in order.

    Raises:
        InvalidField: a parameter is malformed.
        NotFound: there is no such call.
        Unavailable: the database is away.
    """
    story = store.story(parse_call_id(call_id))
    said = said_in(lines_of(story.parts))
    asked = list(pairs)
    start, size = _slice(asked)
    link = _linker(f"{base_url}{CALLS_PATH}/{story.call.call_id}/messages", asked)
    chosen = [show_message(story.call.document, entry) for entry in said[start : start + size]]
    following, previous = _neighbours(start, size, len(said), link)
    return MessageList(next=following, previous=previous, results=chosen, total=len(said))


def list_quality(store: Store, call_id: str) -> QualityList:
    """List how a call sounded over time.

    Raises:
        NotFound: there is no such call.
        Unavailable: the database is away.
    """
    found, data = store.quality(parse_call_id(call_id))
    rows = () if data is None else rows_of(data)
    return QualityList(results=[show_quality(found.document, row) for row in rows])


def find_recording(store: Store, call_id: str) -> RecordingFile | StoredObject:
    """Find the recording of a call: the leg's own before one of a room, a file before one in a bucket.

    One that was cut off with its process is found once a later start has recovered it.

    Raises:
        NotFound: there is no such call, or it has no recording.
        Conflict: it is not finished.
        Unavailable: the database is away.
    """
    found = store.get(parse_call_id(call_id))
    recordings = sorted(found.document.get("recordings", ()), key=lambda item: "room_id" in item)
    over = bool(found.document.get("ended_us"))
    for item in recordings:
        file = item["file"]
        if file and "://" not in file:
            cut_off = over and not item.get("finished") and not os.path.isfile(file)
            path = recovered_file(file) if cut_off else file
            if path is not None and os.path.isfile(path):
                return RecordingFile(Path(path))
    stored = [found for item in recordings for found in stored_objects(item)[:1]]
    if stored:
        return min(stored, key=lambda found: found.opened_by != "server")
    running = [item for item in recordings if not item.get("finished")]
    if running and not over:
        raise Conflict("the recording is not finished")
    of_rooms = found.document.get("reason") != PROCESS_LOST and any("room_id" in item for item in running)
    if of_rooms and store.is_attended(found.call_id):  # it may go on without the call
        raise Conflict("the recording of the room is not finished")
    raise NotFound("the call has no recording")


def delete_call(store: Store, call_id: str, recordings_folder: str | None) -> tuple[str, ...]:
    """Delete an ended call and the recordings that no other call has.

    Args:
        store: where it is.
        call_id: its id.
        recordings_folder: files in it are deleted; others are left alone.

    Returns:
        Recordings that were not deleted, such as those in a bucket.

    Raises:
        NotFound: there is no such call.
        Conflict: it goes on.
        Unavailable: the database is away.
    """
    removed = store.delete(parse_call_id(call_id))
    return delete_files(removed.files, recordings_folder)


# -- pages of lists ----------------------------------------------------------------------------------------


def _number(pairs: Iterable[tuple[str, str]], name: str, default: int, least: int, most: int) -> int:
    values = [value for key, value in pairs if key == name]
    if not values:
        return default
    text = values[0]
    if len(values) > 1:
        raise InvalidField(name, "is given twice")
    if not (text.isascii() and text.isdecimal() and len(text) <= 9 and least <= int(text) <= most):
        raise InvalidField(name, f"must be a number from {least} to {most}")
    return int(text)


def _slice(pairs: list[tuple[str, str]]) -> tuple[int, int]:
    start = _number(pairs, "cursor", 0, 0, 999_999_999)
    return start, _number(pairs, "pageSize", DEFAULT_ENTRIES, 1, MAX_PAGE)


def _linker(url: str, pairs: list[tuple[str, str]]) -> Callable[[int], str]:
    kept = [(name, value) for name, value in pairs if name == "pageSize"]
    return lambda start: f"{url}?{urlencode([*kept, ('cursor', str(start))])}"


def _neighbours(
    start: int, size: int, total: int, link: Callable[[int], str]
) -> tuple[str | None, str | None]:
    following = link(start + size) if start + size < total else None
    return following, link(max(0, start - size)) if start else None
