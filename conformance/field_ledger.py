"""The ledger of fields: which scenario sends or reads each field of the interface, held against a run.

`fields.toml` has a table for each group of fields, in it scenarios, and with each the fields that it shows.
The table ``unshown`` has the fields that no scenario shows, as patterns, each with its reason, or with the
tests that show it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from conformance.fields import Place, groups
from conformance.ledger import is_known
from conformance.registry import Scenario
from conformance.runner import Outcome
from conformance.targets import ROOT

FILE = Path(__file__).with_name("fields.toml")
UNSHOWN = "unshown"
FieldLedger = Mapping[str, Mapping[str, str | list[str]]]


def read_fields(path: Path = FILE) -> FieldLedger:
    """The ledger of fields as it lies in the repository."""
    with path.open("rb") as file:
        return tomllib.load(file)


def _entries(ledger: FieldLedger) -> Iterator[tuple[str, str, str]]:
    """Each group, scenario and field."""
    for group, shown in ledger.items():
        if group != UNSHOWN:
            for scenario, fields in shown.items():
                for name in fields.split() if isinstance(fields, str) else fields:
                    yield group, scenario, name


def check_fields(
    ledger: FieldLedger, scenarios: Mapping[str, Scenario], places: Mapping[str, Place], root: Path = ROOT
) -> list[str]:
    """What is missing, left over or misnamed."""
    wanted = {f"{group} {name}" for group, names in groups(places).items() for name in names}
    shown = {f"{group} {name}" for group, _, name in _entries(ledger)}
    reasons = ledger.get(UNSHOWN, {})
    problems = [f"[fields] {name}: the server has none" for name in sorted(shown - wanted)]
    problems += [
        f"[fields] {group}: there is no {scenario}"
        for group, names in ledger.items()
        for scenario in (names if group != UNSHOWN else ())
        if scenario not in scenarios
    ]
    rest = wanted - shown
    for pattern, reason in reasons.items():
        excused = {name for name in rest if fnmatchcase(name, pattern)}
        if not excused:
            problems.append(f"[fields] {pattern}: no field that nothing shows is named so")
        if not reason:
            problems.append(f"[fields] {pattern}: no reason")
        problems += [
            f"[fields] {pattern}: there is no {test}"
            for test in (reason if isinstance(reason, list) else ())
            if not is_known(test, scenarios, root)
        ]
        rest -= excused
    return problems + [f"[fields] nothing shows {name}" for name in sorted(rest)]


def check_field_run(
    ledger: FieldLedger, places: Mapping[str, Place], outcomes: Sequence[Outcome]
) -> list[str]:
    """The fields that a scenario is named for, and that it neither sent nor read when it passed."""
    seen = {
        outcome.name: {(places[note].group, places[note].field) for note in outcome.fields if note in places}
        for outcome in outcomes
        if outcome.passed
    }
    return [
        f"[fields] {group} {name}: {scenario} does not touch it"
        for group, scenario, name in _entries(ledger)
        if scenario in seen and (group, name) not in seen[scenario]
    ]


def named(ledger: FieldLedger) -> set[str]:
    """The scenarios that show some field."""
    return {scenario for _, scenario, _ in _entries(ledger)}


def count(ledger: FieldLedger) -> int:
    """How many fields scenarios show."""
    return len({(group, name) for group, _, name in _entries(ledger)})
