"""Commands on the history of calls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, TypeVar

from pydantic import BeforeValidator, Field, WithJsonSchema

from vb.commands.registry import Route, command
from vb.commands.views import Status
from vb.engine import Engine
from vb.history import edge
from vb.history.model import (
    CallDetail,
    CallDetailList,
    EntryList,
    MessageList,
    PaginatedCallList,
    QualityList,
)
from vb.history.query import MAX_PAGE, MAX_SEARCH_CHARS
from vb.history.store import Store
from vb.parameters import PREFIX_KEY, Params, prefixed

T = TypeVar("T")
PATH: Final = edge.CALLS_PATH
LINKS: Final = ("next", "previous")


def _plain_number(value: Any) -> Any:
    """Refuse what Python takes for a number but nobody else does, such as `1_0` and ` 1`."""
    if isinstance(value, str) and not (value.isascii() and value.isdecimal()):
        raise ValueError("must be a number")
    return value


PageSize = Annotated[int, Field(ge=1, le=MAX_PAGE), BeforeValidator(_plain_number)]


def _as_pairs(value: Any) -> Any:
    """Take an object as the pairs that it holds, as a query has them."""
    if isinstance(value, dict):
        return tuple(value.items())
    if isinstance(value, list | tuple):
        return tuple(tuple(pair) if isinstance(pair, list) else pair for pair in value)
    raise ValueError("must be given as metadata.key=value")


Metadata = Annotated[
    tuple[tuple[str, str], ...],
    BeforeValidator(_as_pairs),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "string"}}),
]


def _text(alias: str, meaning: str, format_: str | None = None, **limits: Any) -> Any:
    if format_:
        limits["json_schema_extra"] = {"format": format_}
    return Field(default=None, alias=alias, description=meaning, **limits)


class ListCalls(Params):
    """Which calls are wanted, in which order; all filters have to hold."""

    agent_ids: list[Annotated[str, Field(json_schema_extra={"format": "uuid"})]] | None = Field(
        default=None, alias="agentIds", description="calls of any of these agents"
    )
    cursor: str | None = _text("cursor", "place in the list, from `next` or `previous`")
    duration_max: str | None = _text("durationMax", "longest time from the answer to the end, such as 90s")
    duration_min: str | None = _text("durationMin", "shortest time from the answer to the end, such as 1.5s")
    from_date: str | None = _text(
        "fromDate", "made at or after this time; a date alone is its beginning", "date-time"
    )
    metadata: Metadata | None = prefixed(
        "metadata.", "with these pieces of metadata: metadata.key=value, any number of times"
    )
    page_size: PageSize | None = Field(default=None, alias="pageSize", description="calls on a page (50)")
    search: str | None = _text(
        "search",
        "words in parties, transcript, summary or metadata",
        min_length=1,
        max_length=MAX_SEARCH_CHARS,
    )
    sort: str | None = _text(
        "sort", "created, joined, ended or duration; with - before it the largest first (-created)"
    )
    time_of_day_end: str = Field(
        default="23:59:59.999999",
        alias="timeOfDayEnd",
        description="made at or before this time of any day, UTC; one before the start leads across midnight",
        json_schema_extra={"format": "time"},
    )
    time_of_day_start: str = Field(
        default="00:00:00",
        alias="timeOfDayStart",
        description="made at or after this time of any day, UTC",
        json_schema_extra={"format": "time"},
    )
    to_date: str | None = _text("toDate", "made at or before this time; a date alone is its end", "date-time")
    voice_id: str | None = _text("voiceId", "with this voice", "uuid")

    def pairs(self) -> list[tuple[str, str]]:
        """Return what was asked for as the names and values of a query."""
        found: list[tuple[str, str]] = []
        for name, info in type(self).model_fields.items():
            if name not in self.model_fields_set:
                continue
            key, extra, value = info.alias or name, info.json_schema_extra, getattr(self, name)
            if isinstance(extra, dict) and PREFIX_KEY in extra:
                found += [(f"{extra[PREFIX_KEY]}{rest}", text) for rest, text in value or ()]
            elif isinstance(value, list):
                found += [(key, item) for item in value]
            elif value is not None:
                found.append((key, str(value)))
        return found


class CallRef(Params):
    """Names a call."""

    id: str = Field(description="call id")


class CallPart(CallRef):
    """Names a call, and a page of what there is of it."""

    cursor: str | None = _text("cursor", "place in the list, from `next` or `previous`")
    page_size: PageSize | None = Field(default=None, alias="pageSize", description="entries on a page (200)")

    def pairs(self) -> list[tuple[str, str]]:
        """Return the page as the names and values of a query."""
        asked = (("cursor", self.cursor), ("pageSize", self.page_size))
        return [(name, str(value)) for name, value in asked if value is not None]


async def _ask(engine: Engine, question: Callable[[Store], T]) -> T:
    return await engine.stored().read(question)


@command("list_calls", rest=Route("GET", PATH, links=LINKS), errors=(400, 401, 403, 501, 503))
async def list_calls(engine: Engine, p: ListCalls) -> PaginatedCallList:
    """List stored calls, the newest first.

    A call is the life of one leg, in or out; those that go on are listed too.
    """
    return await _ask(engine, partial(edge.list_calls, pairs=p.pairs()))


@command(
    "list_call_details", rest=Route("GET", edge.DETAILS_PATH, links=LINKS), errors=(400, 401, 403, 501, 503)
)
async def list_call_details(engine: Engine, p: ListCalls) -> CallDetailList:
    """List stored calls, each with what is known of its leg, as `get_call` shows one."""
    return await _ask(engine, partial(edge.list_details, pairs=p.pairs()))


@command("get_call", rest=Route("GET", f"{PATH}/{{id}}"), errors=(401, 403, 404, 501, 503))
async def get_call(engine: Engine, p: CallRef) -> CallDetail:
    """Show a stored call."""
    return await _ask(engine, partial(edge.get_call, call_id=p.id))


@command(
    "list_call_messages",
    rest=Route("GET", f"{PATH}/{{id}}/messages", links=LINKS),
    errors=(400, 401, 403, 404, 501, 503),
)
async def list_call_messages(engine: Engine, p: CallPart) -> MessageList:
    """List what was said in a stored call, in order."""
    return await _ask(engine, partial(edge.list_messages, call_id=p.id, pairs=p.pairs()))


@command(
    "list_call_events",
    rest=Route("GET", f"{PATH}/{{id}}/events", links=LINKS),
    errors=(400, 401, 403, 404, 501, 503),
)
async def list_call_events(engine: Engine, p: CallPart) -> EntryList:
    """List what happened in a stored call: events and SIP messages, in order."""
    return await _ask(engine, partial(edge.list_entries, call_id=p.id, pairs=p.pairs()))


@command("list_call_quality", rest=Route("GET", f"{PATH}/{{id}}/quality"), errors=(401, 403, 404, 501, 503))
async def list_call_quality(engine: Engine, p: CallRef) -> QualityList:
    """List how a stored call sounded over time: loss, jitter, round trip and score every few seconds."""
    return await _ask(engine, partial(edge.list_quality, call_id=p.id))


@command("delete_call", rest=Route("DELETE", f"{PATH}/{{id}}"), errors=(401, 403, 404, 409, 501, 503))
async def delete_call(engine: Engine, p: CallRef) -> Status:
    """Delete a stored call that is over, with the recordings that no other call has."""
    history = engine.stored()
    folder = history.settings.recordings_folder
    left = await history.read(partial(edge.delete_call, call_id=p.id, recordings_folder=folder))
    await history.remove_recordings(left)
    return Status(status="deleted")
