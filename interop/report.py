"""What a peer's run says: named checks that hold or do not."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio


class NotRun(Exception):
    """The peer is not installed here; the message names what is missing."""


class ServerFailed(Exception):
    """The server did not start, or did not stop cleanly."""


@dataclass
class Report:
    """Collects the checks of one peer and prints each as it is made."""

    peer: str
    failures: list[str] = field(default_factory=list)
    passed: int = 0

    def check(self, holds: bool, what: str, detail: object = "") -> bool:
        """Count and print one check; `detail` is shown when it fails.

        Returns:
            `holds`, so that a scenario can stop where going on makes no sense.
        """
        if holds:
            self.passed += 1
            print(f"  ok    {self.peer}: {what}", flush=True)
        else:
            self.failures.append(what)
            print(f"  FAIL  {self.peer}: {what}{f' ({detail})' if detail != '' else ''}", flush=True)
        return holds

    def equal(self, found: object, wanted: object, what: str) -> bool:
        """Check that two values are the same."""
        return self.check(found == wanted, f"{what}: {wanted}", f"found {found}")


def run_peer(report: Report, run: Callable[[Report], Awaitable[None]]) -> None:
    """Run one peer to its end; a missing peer is no failure, whatever else it raises is one."""
    try:
        trio.run(run, report)
    except* NotRun as group:
        print(f"{report.peer}: not run: {_leaf(group)}", flush=True)
    except* ServerFailed as group:
        report.check(False, "the server starts and stops", _leaf(group))
    except* Exception as group:  # the other peers are still worth their run
        traceback.print_exception(group)
        report.check(False, "the peer runs to its end", repr(_leaf(group)))


def _leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    exc: BaseException = group
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    return exc
