"""What was checked, what was measured, and what did not hold."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Case:
    """One named attack: its figures and its violations."""

    name: str
    seconds: float = 0.0
    figures: list[str] = field(default_factory=list)
    checks: int = 0
    violations: list[str] = field(default_factory=list)


class Report:
    """All cases in the order they ran."""

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self._began = time.monotonic()

    def case(self, name: str) -> Case:
        """The case of a name; a new one if there is none yet."""
        for case in self.cases:
            if case.name == name:
                return case
        case = Case(name)
        self.cases.append(case)
        return case

    def check(self, name: str, holds: bool, text: str) -> None:
        """Counts a check; what does not hold is a violation."""
        case = self.case(name)
        case.checks += 1
        if not holds:
            case.violations.append(text)

    def figure(self, name: str, text: str) -> None:
        """Adds a measured figure to a case."""
        self.case(name).figures.append(text)

    @property
    def violations(self) -> int:
        """How many checks did not hold."""
        return sum(len(case.violations) for case in self.cases)

    def show(self, case: Case) -> None:
        """Prints one finished case."""
        verdict = "FAILED" if case.violations else "ok"
        print(f"{case.name}: {verdict} ({case.checks} checks, {case.seconds:.1f} s)", flush=True)
        for figure in case.figures:
            print(f"    {figure}", flush=True)
        for violation in case.violations[:20]:
            print(f"  ! {violation}", flush=True)
        if len(case.violations) > 20:
            print(f"  ! and {len(case.violations) - 20} more", flush=True)

    def summary(self) -> str:
        """The last line."""
        checks = sum(case.checks for case in self.cases)
        elapsed = time.monotonic() - self._began
        return f"fuzz: {checks} checks, {self.violations} violations in {elapsed:.0f} s"
