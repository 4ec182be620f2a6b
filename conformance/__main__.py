"""``python -m conformance``: runs the suite against a server of its own or one that runs already."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import trio

from conformance.expect import Difference
from conformance.field_ledger import check_field_run, check_fields, count, named, read_fields
from conformance.ledger import check_names, check_run, read_ledger, read_surface, summary
from conformance.registry import Scenario, load_all
from conformance.runner import Outcome, as_json, first_problem, run_all
from conformance.targets import Target, remote
from conformance.workers import run_parallel

MAX_SECOND_LOOKS = 6


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="conformance", description=__doc__)
    made.add_argument("--url", help="base URL of a running server; without it one is started")
    made.add_argument("--sip", help="HOST:PORT of its SIP over UDP; goes with --url")
    made.add_argument(
        "--webhook-port", type=int, default=0, help="port of the receiver its WEBHOOK_URL names (/hook)"
    )
    made.add_argument("--webhook-secret", help="its WEBHOOK_SECRET")
    made.add_argument("--token", help="one of its VB_API_TOKENS, where it has some")
    made.add_argument("--recording-dir", help="its RECORDING_DIR, when it can be read from here")
    made.add_argument("--only", nargs="+", metavar="NAME", help="scenarios to run; * stands for anything")
    made.add_argument(
        "--jobs", type=int, default=4, help="scenarios that run at the same time; 1 with --url (%(default)s)"
    )
    made.add_argument("--json", metavar="FILE", help="write the report there as JSON")
    made.add_argument(
        "--ledger", action="store_true", help="only hold ledger.toml against scenarios and server"
    )
    made.add_argument("--list", action="store_true", help="print the scenario names and end")
    return made


def ledger_problems(
    target: Target | None, scenarios: Mapping[str, Scenario], outcomes: Sequence[Outcome]
) -> list[str]:
    """Holds the ledger against the scenarios, the server and a run, and prints what is wrong with it."""
    ledger, fields = read_ledger(), read_fields()
    problems = check_run(ledger, outcomes)
    try:
        surface = trio.run(read_surface, target)
        problems = [
            *check_names(ledger, scenarios, surface, elsewhere=named(fields)),
            *check_fields(fields, scenarios, surface.places),
            *problems,
            *check_field_run(fields, surface.places, outcomes),
        ]
    except (Difference, ExceptionGroup, OSError) as problem:
        problems.insert(0, f"the server does not tell what it has: {first_problem(problem)}")
    print(summary(ledger, problems, count(fields)), flush=True)
    return problems


def second_look(scenarios: Mapping[str, Scenario], outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Runs what failed beside others once more, by itself, and lets that count.

    Scenarios hear and time real calls in several processes at once, so a busy moment can fail one that holds.
    More failures than `MAX_SECOND_LOOKS` are no busy moment.
    """
    failed = [scenarios[outcome.name] for outcome in outcomes if outcome.failed]
    if not failed or len(failed) > MAX_SECOND_LOOKS:
        return list(outcomes)
    print(f"once more, one after the other: {', '.join(item.name for item in failed)}", flush=True)
    again = {outcome.name: outcome for outcome in trio.run(run_all, failed, None)}
    return [again.get(outcome.name, outcome) for outcome in outcomes]


def main(argv: list[str] | None = None) -> int:
    """Runs the suite; returns 0 when nothing failed."""
    arguments = parser().parse_args(argv)
    if (arguments.url is None) != (arguments.sip is None):
        parser().error("--url and --sip go together")
    scenarios = load_all()
    chosen = list(scenarios.values())
    if arguments.only:
        chosen = [
            item for item in chosen if any(fnmatchcase(item.name, pattern) for pattern in arguments.only)
        ]
        if not chosen:
            parser().error(f"no scenario is named {' '.join(arguments.only)}")
    if arguments.list:
        for item in chosen:
            print(f"{item.name:<24} {item.what}")
        return 0
    target = None
    if arguments.url:
        target = remote(
            arguments.url,
            arguments.sip,
            recordings=arguments.recording_dir,
            secret=arguments.webhook_secret,
            token=arguments.token,
        )
    if arguments.ledger:
        return 1 if ledger_problems(target, scenarios, ()) else 0
    jobs = 1 if target is not None else max(1, arguments.jobs)
    if jobs == 1:
        outcomes = trio.run(lambda: run_all(chosen, target, webhook_port=arguments.webhook_port))
    else:
        outcomes = second_look(scenarios, trio.run(run_parallel, chosen, jobs))
    report = Path(arguments.json) if arguments.json else None
    if report is not None:
        report.write_text(as_json(outcomes) + "\n", encoding="utf-8")
    problems = None if arguments.only else ledger_problems(target, scenarios, outcomes)
    failed = sum(outcome.failed for outcome in outcomes)
    print(
        f"\n{sum(o.passed for o in outcomes)} passed, {failed} failed, "
        f"{sum(bool(o.not_run) for o in outcomes)} not run"
    )
    if report is not None:
        report.write_text(as_json(outcomes, problems) + "\n", encoding="utf-8")
    return 1 if failed or problems else 0


if __name__ == "__main__":
    sys.exit(main())
