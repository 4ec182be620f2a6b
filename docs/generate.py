"""Write the generated parts of the documentation, or with --check only say whether they are fresh.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`. With --check, every path that
a page names in code quotes must exist too.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

from vb.commands import catalog
from vb.config import settings_table
from vb.events.catalog import all_events
from vb.history.arguments import FILTERS
from vb.history.reasons import MEANINGS

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (
    "bench",
    "conformance",
    "deploy",
    "docs",
    "fuzz",
    "interop",
    "requirements",
    "stubs",
    "tests",
    "vb",
)
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
_PART = re.compile(
    r"(?P<open><!-- generated: (?P<name>\w+) -->\n)(?P<body>.*?)(?P<close><!-- end -->)", re.DOTALL
)
_PATH = re.compile(rf"`((?:{'|'.join(FOLDERS)}|\.ci)/[\w./-]*)`")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    lines = [list(head), ["---"] * len(list(head)), *(list(row) for row in rows)]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return "".join("| " + " | ".join(line) + " |\n" for line in cells)


def code(text: str) -> str:
    """Text in code quotes, empty when there is none."""
    return f"`{text}`" if text else ""


def first_sentence(text: str | None) -> str:
    """The first line of a docstring."""
    return (text or "").strip().partition("\n")[0]


def configuration() -> str:
    """Every setting."""
    rows = ((code(row.name), code(row.default), row.kind, row.meaning) for row in settings_table())
    return table(("Variable", "Default", "Type", "Meaning"), rows)


def commands() -> str:
    """Every command with its REST route."""
    rows = (
        (code(known.name), code(f"{known.route.method} {known.route.path}"), known.summary)
        for known in sorted(
            catalog.REGISTRY.values(), key=lambda known: (known.route.path, known.route.method)
        )
    )
    return table(("VSI and library", "REST", "What it does"), rows)


def events() -> str:
    """Every event with its own fields."""
    rows = (
        (
            code(name),
            ", ".join(
                code(info.alias or field) for field, info in event.model_fields.items() if field != "app_id"
            ),
            first_sentence(event.__doc__),
        )
        for name, event in sorted(all_events().items())
    )
    return table(("Event", "Fields besides the envelope", "When"), rows)


def end_reasons() -> str:
    """What each reason of ours means in the calls API."""
    rows = (
        (
            code(reason),
            code(meaning.answered),
            code(meaning.unanswered),
            code(meaning.sip),
            code(meaning.sip_unanswered or meaning.sip),
        )
        for reason, meaning in sorted(MEANINGS.items())
    )
    head = (
        "Reason",
        "`endReason`, answered",
        "not answered",
        "`terminationReason`, answered",
        "not answered",
    )
    return table(head, rows)


def call_filters() -> str:
    """The filters of calls, in the API and on the command line."""
    rows = (
        (code(f"{name}.key" if name == "metadata" else name), code(f"{option} {shown}"), text)
        for name, (option, shown, text) in FILTERS.items()
    )
    return table(("Parameter", "`vb calls`", "Calls"), rows)


def reliability() -> str:
    """Each reliability case of the conformance ledger, with what shows it."""
    ledger = tomllib.loads((ROOT / "conformance" / "ledger.toml").read_text(encoding="utf-8"))
    rows = []
    for title, shown in ledger["reliability"].items():
        number, _, name = title.partition(" ")
        files = dict.fromkeys(path for path, found, _ in (one.partition("::") for one in shown) if found)
        scenarios = [one for one in shown if "::" not in one]
        rows.append((number, name, ", ".join(map(code, scenarios)), ", ".join(map(code, files))))
    return table(("", "Case", "Scenarios", "Tests, attacks and long runs"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "configuration": configuration,
    "commands": commands,
    "events": events,
    "end_reasons": end_reasons,
    "call_filters": call_filters,
    "reliability": reliability,
}


def fill(text: str) -> str:
    """A page with its generated parts written anew."""
    return _PART.sub(lambda part: f"{part['open']}{PARTS[part['name']]()}{part['close']}", text)


def missing_paths(page: Path) -> list[str]:
    """The paths that a page names and nobody finds."""
    return [
        f"{page.relative_to(ROOT)} names {path}, which does not exist"
        for path in _PATH.findall(page.read_text(encoding="utf-8"))
        if not (ROOT / path).exists()
    ]


def main(arguments: list[str]) -> int:
    """Write or check every page.

    Returns:
        1 when --check found something, else 0.
    """
    check = "--check" in arguments
    troubles: list[str] = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        fresh = fill(text)
        if check:
            if fresh != text:
                troubles.append(f"{page.relative_to(ROOT)} is stale: run ./run test generate")
            troubles += missing_paths(page)
        elif fresh != text:
            page.write_text(fresh, encoding="utf-8")
            print(f"wrote {page.relative_to(ROOT)}")
    for trouble in troubles:
        print(trouble, file=sys.stderr)
    return 1 if troubles else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
