"""The ledger: which scenario checks what, held against the server's own documents and against a run.

`ledger.toml` maps every operation, command, event and setting to scenarios, what those names cannot tell to
topics, and each behaviour that must hold and each reliability case to a scenario, a test or an attack.
`statements.toml` does so with what the documents of the API say in sentences; a string in place of a list is
the reason why nothing can show one. Fields are in `field_ledger`.
It fails when something has no scenario, when a scenario is in no entry, and when a full run did not bear
an entry out.
"""

from __future__ import annotations

import ast
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType

import trio

from conformance.expect import Difference
from conformance.fields import Place, places
from conformance.peers.http import HttpClient
from conformance.registry import Scenario
from conformance.runner import Outcome
from conformance.surface import messages_of, operations_of, settings_of
from conformance.targets import ROOT, Target, command, environment, started

FILE = Path(__file__).with_name("ledger.toml")
STATEMENTS = Path(__file__).with_name("statements.toml")
SEEN = ("operations", "commands", "events")
"""Sections that a run can bear out."""
SECTIONS = (*SEEN, "settings", "topics", "behaviour", "statements", "reliability")
SET_FOR_ALL = frozenset({*environment(Path(), {}), "WEBHOOK_URL", "WEBHOOK_SECRET"})
"""Settings that every server of the suite gets."""
Ledger = Mapping[str, Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class Surface:
    """What the server says it has; settings are None when only its address is known."""

    operations: frozenset[str]
    commands: frozenset[str]
    events: frozenset[str]
    settings: frozenset[str] | None
    places: Mapping[str, Place] = field(default_factory=dict)

    def section(self, name: str) -> frozenset[str] | None:
        """The names that a section of the ledger must have, None where they are free."""
        known = {
            "operations": self.operations,
            "commands": self.commands,
            "events": self.events,
            "settings": self.settings,
        }
        return known.get(name)


def read_ledger(path: Path = FILE, statements: Path = STATEMENTS) -> Ledger:
    """The ledger as it lies in the repository, statements that have a reason left out."""
    with path.open("rb") as file, statements.open("rb") as more:
        groups = tomllib.load(more)
        said = {
            f"{group}: {name}": shown
            for group, entries in groups.items()
            for name, shown in entries.items()
            if not isinstance(shown, str)
        }
        return {**tomllib.load(file), "statements": said}


async def _document(target: Target, path: str) -> dict[str, object]:
    reply = await HttpClient(*target.http, target.headers).ask("GET", path)
    if reply.status != 200:
        raise Difference(f"GET {path}: status", 200, reply.status)
    document = reply.json
    if not isinstance(document, dict):
        raise Difference(f"GET {path}", "an object", document)
    return document


async def read_surface(remote: Target | None) -> Surface:
    """Asks a server, one of our own when there is no other, what it has.

    Raises:
        Difference: when it does not tell.
    """
    settings = None
    if remote is not None:
        openapi, asyncapi = [await _document(remote, path) for path in ("/openapi.json", "/asyncapi.json")]
    else:
        with tempfile.TemporaryDirectory(prefix="conformance-") as home:
            shown = await trio.run_process(
                [*command(), "--help"], env=environment(Path(home), {}), cwd=ROOT, capture_stdout=True
            )
            settings = frozenset(settings_of(shown.stdout.decode()))
            async with started(Path(home), {}) as target:
                openapi, asyncapi = [
                    await _document(target, path) for path in ("/openapi.json", "/asyncapi.json")
                ]
    commands, events = messages_of(asyncapi)
    return Surface(
        frozenset(operations_of(openapi)),
        frozenset(commands),
        frozenset(events),
        settings,
        places(openapi, asyncapi),
    )


def _defined(source: str) -> set[str]:
    """The functions and classes of a Python file, and the constants that it assigns and uses."""
    names: set[str] = set()
    assigned: set[str] = set()
    used: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and node.id.isupper():
            (assigned if isinstance(node.ctx, ast.Store) else used).add(node.id)
    return names | (assigned & used)


def is_known(reference: str, scenarios: Mapping[str, Scenario], root: Path) -> bool:
    """Whether a scenario has this name, or ``file::name`` a file that has that function or constant."""
    path, separator, name = reference.partition("::")
    if not separator:
        return reference in scenarios
    file = root / path
    return file.is_file() and name in _defined(file.read_text(encoding="utf-8"))


def _strings_in(value: object) -> Iterator[str]:
    """Every string of a constant, whole; for code those that stand in it, inner functions included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _strings_in([*value.keys(), *value.values()])
    elif isinstance(value, tuple | list | set | frozenset):
        for item in value:
            yield from _strings_in(item)
    elif isinstance(value, CodeType):
        yield from _strings_in(value.co_consts)


def _names_in(code: CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return {*code.co_names}.union(*(_names_in(one) for one in inner))


def _strings_used(function: FunctionType, seen: set[str]) -> Iterator[str]:
    """The strings of a function, and of the helpers and constants of its module that it uses."""
    yield from _strings_in(function.__code__)
    for name in _names_in(function.__code__) - seen:
        seen.add(name)
        value = function.__globals__.get(name)
        if not isinstance(value, FunctionType):
            yield from _strings_in(value)
        elif value.__globals__ is function.__globals__:
            yield from _strings_used(value, seen)


def _sets(item: Scenario, setting: str) -> bool:
    """Whether a scenario, or a helper that it uses, gives a server this setting."""
    if setting in item.env or setting in SET_FOR_ALL:
        return True
    return isinstance(item.body, FunctionType) and setting in _strings_used(item.body, set())


def check_names(
    ledger: Ledger,
    scenarios: Mapping[str, Scenario],
    surface: Surface,
    root: Path = ROOT,
    elsewhere: Set[str] = frozenset(),
) -> list[str]:
    """What is missing, left over or misnamed in the ledger; scenarios ``elsewhere`` need no entry here."""
    problems = [f"[{section}] is no section" for section in ledger if section not in SECTIONS]
    for section in SECTIONS:
        entries = ledger.get(section, {})
        wanted = surface.section(section)
        if wanted is not None:
            problems += [f"[{section}] has no {name}" for name in sorted(wanted - entries.keys())]
            problems += [
                f"[{section}] {name}: the server has none" for name in sorted(entries.keys() - wanted)
            ]
        for name, references in entries.items():
            if not references:
                problems.append(f"[{section}] {name}: no scenario")
            for reference in references:
                if not is_known(reference, scenarios, root):
                    problems.append(f"[{section}] {name}: there is no {reference}")
                elif section == "settings" and not _sets(scenarios[reference], name):
                    problems.append(f"[settings] {name}: {reference} does not set it")
    named = set(elsewhere)
    named |= {reference for entries in ledger.values() for refs in entries.values() for reference in refs}
    problems += [f"{name} is in no entry" for name in scenarios if name not in named]
    return problems


def check_run(ledger: Ledger, outcomes: Sequence[Outcome]) -> list[str]:
    """The entries that a run did not bear out: what passed without touching what it stands for."""
    used = {outcome.name: set(outcome.used) for outcome in outcomes if outcome.passed}
    return [
        f"[{section}] {name}: {reference} does not touch it"
        for section in SEEN
        for name, references in ledger.get(section, {}).items()
        for reference in references
        if reference in used and name not in used[reference]
    ]


def summary(ledger: Ledger, problems: Sequence[str], fields: int) -> str:
    """The verdict as text for a terminal; ``fields`` is how many of them scenarios show."""
    counts = ", ".join(
        [*(f"{len(ledger.get(section, {}))} {section}" for section in SECTIONS), f"{fields} fields"]
    )
    return "\n".join([f"ledger: {counts}", *(f"  {problem}" for problem in problems)])
