"""The arguments of `vb calls`; apart from what carries them out, which takes a while to load."""

from __future__ import annotations

import argparse
from typing import Any, Final

FILTERS: Final = {
    "agentIds": ("--agent", "ID", "calls of an agent; may be repeated"),
    "durationMin": ("--duration-min", "DURATION", "that lasted at least so long, such as 90s"),
    "durationMax": ("--duration-max", "DURATION", "that lasted at most so long"),
    "fromDate": ("--from-date", "DATE", "made at or after a date or time"),
    "toDate": ("--to-date", "DATE", "made at or before a date or time; a date alone is its whole day"),
    "metadata": ("--metadata", "KEY=VALUE", "with a piece of metadata; may be repeated"),
    "search": ("--search", "TEXT", "with these words in parties, transcript, summary or metadata"),
    "sort": ("--sort", "FIELD", "created, joined, ended or duration; with - before it the largest first"),
    "timeOfDayStart": ("--time-of-day-start", "TIME", "made at or after a time of any day, UTC"),
    "timeOfDayEnd": ("--time-of-day-end", "TIME", "made at or before a time of any day"),
    "voiceId": ("--voice", "ID", "with a voice"),
}
MAX_NUMBER: Final = 1_000_000
_REPEATED: Final = frozenset({"agentIds", "metadata"})


class _Parser(argparse.ArgumentParser):
    """A parser that does not take the order `-created` for an option."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, with each order joined to its option."""
        given, joined = list(args or ()), list[str]()
        while given:
            word = given.pop(0)
            joined.append(f"{word}={given.pop(0)}" if word == "--sort" and given else word)
        return super().parse_known_args(joined, namespace)


def _number(text: str) -> int:
    """Return a number of days or calls.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:10]) <= MAX_NUMBER):
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {MAX_NUMBER}")
    return int(text)


def add_parser(commands: Any) -> None:
    """Add `calls` and its commands to a parser's."""
    calls = commands.add_parser(
        "calls",
        help="list, show, export and prune stored calls",
        description="Look at the history of calls. The settings are those of the server.",
    )
    verbs = calls.add_subparsers(
        dest="verb", required=True, metavar="list | show | export | prune", parser_class=_Parser
    )
    listing = verbs.add_parser("list", help="list calls, the newest first")
    _add_filters(listing)
    listing.add_argument("--limit", type=_number, default=50, metavar="N", help="at most so many (50)")
    listing.add_argument("--format", choices=("table", "jsonl", "csv"), default="table", help="how (table)")
    export = verbs.add_parser("export", help="write all calls that match")
    _add_filters(export)
    export.add_argument("--format", choices=("jsonl", "csv"), default="jsonl", help="how (jsonl)")
    show = verbs.add_parser("show", help="show one call and what happened in it")
    show.add_argument("id", help="id of the call")
    show.add_argument("--format", choices=("table", "jsonl"), default="table", help="how (table)")
    prune = verbs.add_parser("prune", help="delete old calls with their recordings")
    prune.add_argument(
        "--older-than", type=_number, metavar="DAYS", help="made before so many days (VB_RETENTION_DAYS)"
    )


def _add_filters(parser: argparse.ArgumentParser) -> None:
    for name, (option, shown, text) in FILTERS.items():
        action = "append" if name in _REPEATED else "store"
        parser.add_argument(option, dest=name, metavar=shown, action=action, help=text)
