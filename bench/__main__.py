"""`python -m bench`: measure the server of this checkout, beside another one when given."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from types import FrameType

from bench.cases import (
    CASES,
    ON_REQUEST,
    QUICK,
    AgentsCase,
    Case,
    MediaCase,
    OwnAgentsCase,
    SoakCase,
    WebRtcCase,
)
from bench.generator import GeneratorFailed
from bench.host import raise_open_files
from bench.outcome import Options, Outcome
from bench.report import case_text, profile_text, share_text, write_json
from bench.rows import missed_bars
from bench.run import run_case
from bench.server import ROOT, ServerFailed

PROFILED = "pairs-500"
QUICK_WINDOW_S = 3.0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = ", ".join(case.name for case in (*CASES, *ON_REQUEST))
    parser.add_argument("--only", metavar="NAME", action="append", help=f"only this case: {names}")
    parser.add_argument("--quick", action="store_true", help="a smoke run: few legs, short windows")
    parser.add_argument("--window", type=float, default=10.0, metavar="S", help="length of the steady window")
    parser.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="run each case N times, show the best"
    )
    parser.add_argument(
        "--baseline",
        type=Path,
        metavar="DIR",
        help="another checkout, run in turn with this one; prints ratios",
    )
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="run server and generator before everything else on their cores, on a machine that others use",
    )
    parser.add_argument(
        "--minutes", type=float, default=SoakCase().minutes, metavar="N", help="length of the soak"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything to a file")
    parser.add_argument(
        "--profile",
        action="store_true",
        help=f"run {PROFILED} (or --only) and show where the server's time goes",
    )
    return parser


def _chosen(args: argparse.Namespace) -> list[Case]:
    long = [
        replace(case, minutes=args.minutes) if isinstance(case, SoakCase) else case for case in ON_REQUEST
    ]
    cases: list[Case] = [*(QUICK if args.quick else CASES), *long]
    profiled = PROFILED if not args.quick else QUICK[0].name
    wanted = args.only or ([profiled] if args.profile else None)
    chosen = [case for case in cases if (case not in long if wanted is None else case.name in wanted)]
    if wanted is not None and len(chosen) < len(set(wanted)):
        raise SystemExit(f"bench: no such case among {', '.join(case.name for case in cases)}")
    return chosen


def _profile(case: MediaCase | AgentsCase | OwnAgentsCase, options: Options) -> Outcome:
    outcome = run_case(case, ROOT, options)
    assert options.profile is not None
    print(profile_text(options.profile, case.legs, options.window_s))
    return outcome


def _end(number: int, frame: FrameType | None) -> None:
    """End as after Ctrl-C, so that no server is left behind."""
    raise SystemExit(128 + number)


def _attempt(case: Case, checkout: Path, options: Options, failures: list[str]) -> list[Outcome]:
    """Run a case once; a server or generator that fails costs this run only."""
    try:
        if options.profile is not None and isinstance(case, MediaCase | AgentsCase | OwnAgentsCase):
            return [_profile(case, options)]
        return [run_case(case, checkout, options)]
    except (ServerFailed, GeneratorFailed) as exc:
        failures.append(f"{case.name} at {checkout}: {exc}")
        return []


def main(argv: list[str] | None = None) -> int:
    """Run the cases; the exit status is 1 when a check failed, or a bar was missed where bars bind."""
    args = build_parser().parse_args(argv)
    raise_open_files()
    signal.signal(signal.SIGTERM, _end)
    options = Options(min(args.window, QUICK_WINDOW_S) if args.quick else args.window, args.realtime)
    results: list[tuple[Case, list[Outcome], list[Outcome]]] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        profiling = replace(options, profile=Path(folder) / "profile") if args.profile else options
        for case in _chosen(args):
            runs: list[Outcome] = []
            baseline: list[Outcome] = []
            for _ in range(args.repeat):
                runs += _attempt(case, ROOT, profiling, failures)
                if args.baseline is not None:
                    baseline += _attempt(case, args.baseline.resolve(), options, failures)
            results.append((case, runs, baseline))
            failures += missed_bars(case, runs)
            print(case_text(case, runs, baseline), flush=True)
            if isinstance(case, WebRtcCase) and (share := share_text(case, results)) is not None:
                print(share, flush=True)
    if args.json is not None:
        write_json(args.json, results)
    for failure in failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return int(bool(failures) or any(run.faults for _, runs, _ in results for run in runs))


if __name__ == "__main__":
    sys.exit(main())
