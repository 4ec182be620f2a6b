"""`vb calls`: the history on the command line, with the filters of `GET /api/calls`."""

from __future__ import annotations

import argparse
import csv
import io
import os
import re
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import IO, Final

from sqlalchemy.exc import SQLAlchemyError

from vb.config import Config
from vb.errors import ConfigError, VbError
from vb.history.arguments import FILTERS
from vb.history.base import time_text
from vb.history.edge import get_call, list_entries
from vb.history.files import delete_files
from vb.history.find import Found, Page
from vb.history.model import CallDetail
from vb.history.present import show_call, show_detail
from vb.history.query import CONTROL, MAX_PAGE, Query, parse_query
from vb.history.schema import DAY_US
from vb.history.settings import history_settings
from vb.history.store import Store

_COLUMNS: Final = ("created", "length", "direction", "from", "to", "end", "id")
_ACTING: Final = re.compile(rf"{CONTROL.pattern}|[\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that decide about directions and lines (Unicode TR 36 §2.4)."""
_CSV: Final = (
    "call_id",
    "created",
    "joined",
    "ended",
    "billed_duration",
    "direction",
    "type",
    "from",
    "to",
    "app_id",
    "end_reason",
    "reason",
    "metadata",
)


def run(args: argparse.Namespace, config: Config, out: IO[str] | None = None) -> int:
    """Run a command of `vb calls` and return its exit status.

    Args:
        args: what the parser has found.
        config: settings of the server.
        out: where to write.
    """
    out = out or sys.stdout
    try:
        settings = history_settings(config)
        if settings is None:
            why = (
                "is off" if config.history.database_url.get_secret_value() else "and VB_DATA_DIR are not set"
            )
            raise ConfigError(f"there is no call history: VB_DATABASE_URL {why}")
        store = Store(settings.url, run_id=uuid.uuid4())
    except ConfigError as exc:
        return _fail(exc.message)
    if out is sys.stdout and isinstance(out, io.TextIOWrapper):
        out.reconfigure(errors="replace")  # a terminal need not know every letter that a name has
    try:
        store.open()
    except (SQLAlchemyError, OSError) as exc:
        store.close()
        return _fail(_unusable(exc))
    try:
        if args.verb == "show":
            _show(store, args, out)
        elif args.verb == "prune":
            return _prune(store, args, config.history.retention_days, settings.recordings_folder, out)
        else:
            limit = args.limit if args.verb == "list" else None
            _write(_calls(store, parse_query(_pairs(args)), limit), args.format, out)
        out.flush()
    except VbError as exc:
        return _fail(exc.message)
    except SQLAlchemyError as exc:
        return _fail(_unusable(exc))
    except BrokenPipeError:  # who reads has seen enough, as `head` has
        _leave(out)
        return 1
    except OSError as exc:
        _leave(out)
        return _fail(f"the output cannot be written: {exc.strerror}")
    finally:
        store.close()
    return 0


def _unusable(problem: Exception) -> str:
    return f"the call history cannot be used: {str(problem).partition(chr(10))[0]}"


def _leave(out: IO[str]) -> None:
    """Let what is still to be written go nowhere: else Python tries once more at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
    except OSError:  # it is no file
        return


def _fail(message: str) -> int:
    print(f"vb: {message}", file=sys.stderr)
    return 1


def _pairs(args: argparse.Namespace) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name in FILTERS:
        given = getattr(args, name)
        for value in given if isinstance(given, list) else [given]:
            if value is None:
                continue
            if name == "metadata":
                key, equals, rest = value.partition("=")
                pairs.append((f"metadata.{key}", rest) if equals else ("metadata", value))
            else:
                pairs.append((name, value))
    return pairs


def _calls(store: Store, query: Query, limit: int | None) -> Iterator[Found]:
    """Give the calls of all pages, at most so many."""
    left = limit
    while left is None or left > 0:
        size = MAX_PAGE if left is None else min(left, MAX_PAGE)
        page: Page = store.page(replace(query, page_size=size))
        yield from page.calls
        if page.next is None:
            break
        query = replace(query, position=page.next)
        left = None if left is None else left - len(page.calls)


def _clean(text: object) -> str:
    """Return text that does nothing to a terminal, nor turns round what stands beside it."""
    return _ACTING.sub("?", "" if text is None else str(text))


def _write(calls: Iterable[Found], form: str, out: IO[str]) -> None:
    if form == "jsonl":
        for found in calls:
            print(show_call(found.call_id, found.document).model_dump_json(by_alias=True), file=out)
        return
    details = (show_detail(found.call_id, found.document) for found in calls)
    if form == "csv":
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(_CSV)
        for detail in details:
            writer.writerow(_cell(value) for value in _row(detail))
        return
    rows = [_COLUMNS, *(_line(detail) for detail in details)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), file=out
        )


def _line(call: CallDetail) -> tuple[str, ...]:
    leg = call.leg
    return (
        call.created.strftime("%Y-%m-%d %H:%M:%S"),
        call.billed_duration or "-",
        leg.direction,
        _clean(leg.from_)[:40] or "-",
        _clean(leg.to or leg.uri)[:40] or "-",
        call.end_reason or ("up" if call.joined else "ringing"),
        str(call.call_id),
    )


def _row(call: CallDetail) -> tuple[object, ...]:
    leg = call.leg
    return (
        call.call_id,
        time_text(call.created),
        time_text(call.joined) if call.joined else "",
        time_text(call.ended) if call.ended else "",
        (call.billed_duration or "").removesuffix("s"),
        leg.direction,
        leg.leg_type,
        leg.from_,
        leg.to or leg.uri,
        leg.app_id,
        call.end_reason,
        leg.reason,
        "; ".join(f"{key}={value}" for key, value in call.metadata.items()),
    )


def _cell(value: object) -> str:
    """Return a cell that a spreadsheet shows and does not carry out; a number's plus is left alone."""
    text = _clean(value)
    risky = text[:1] in ("=", "@") or (text[:1] in ("+", "-") and not text[1:].isdecimal())
    return f"'{text}" if risky else text


def _show(store: Store, args: argparse.Namespace, out: IO[str]) -> None:
    call = get_call(store, args.id)
    if args.format == "jsonl":
        print(call.model_dump_json(by_alias=True), file=out)
        return
    leg = call.leg
    facts = {
        "call": call.call_id,
        "created": time_text(call.created),
        "answered": time_text(call.joined) if call.joined else None,
        "ended": time_text(call.ended) if call.ended else None,
        "length": call.billed_duration,
        "leg": f"{leg.leg_type} on {leg.instance_id}",
        "from": leg.from_,
        "to": leg.to or leg.uri,
        "app": leg.app_id,
        "end": f"{call.end_reason} ({leg.reason})" if call.end_reason else None,
        "quality": leg.quality and ", ".join(f"{name} {value}" for name, value in leg.quality.items()),
        **{f"metadata {key}": value for key, value in call.metadata.items()},
        **{f"recording {number}": item.file for number, item in enumerate(leg.recordings, 1)},
    }
    for name, value in facts.items():
        if value not in (None, ""):
            print(f"{_clean(name):12}  {_clean(value)}", file=out)
    start = 0
    while True:
        page = list_entries(store, args.id, [("cursor", str(start)), ("pageSize", str(MAX_PAGE))])
        for entry in page.results:
            what = entry.type
            if entry.sip is not None:
                arrow = "<-" if entry.sip.direction == "in" else "->"
                what = f"{arrow} {_clean(entry.sip.text.partition(chr(13))[0])[:90]}"
            print(f"  {entry.timestamp:30}  {what}", file=out)
        start += len(page.results)
        if page.next is None:
            break


def _prune(
    store: Store, args: argparse.Namespace, retention_days: int, folder: str | None, out: IO[str]
) -> int:
    days = retention_days if args.older_than is None else args.older_than
    if days < 1:
        return _fail("say how old: --older-than DAYS, or VB_RETENTION_DAYS")
    before_us = time.time_ns() // 1_000 - days * DAY_US
    calls = left = 0
    while removed := store.prune(before_us):
        if not removed.calls:
            break
        calls += len(removed.calls)
        left += len(delete_files(removed.files, folder))
    print(f"{calls} calls deleted" + (f", {left} recordings left where they are" if left else ""), file=out)
    out.flush()
    store.rewrite_words()
    store.empty_log()
    return 0
