"""The samples of a ``/metrics`` page (Prometheus text format 0.0.4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from conformance.expect import Difference

_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)(?: -?\d+)?")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)",?')
PREFIX = "voiceblender_"


@dataclass(frozen=True)
class Samples:
    """One reading of a server's metrics; names are given without their prefix.

    Attributes:
        families: Every name that a TYPE line declares, prefix included.
        values: Value by name and labels.
    """

    families: frozenset[str]
    values: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def find(self, name: str, **labels: str) -> float | None:
        """The value of one sample, None where the server does not list it."""
        return self.values.get((PREFIX + name, frozenset(labels.items())))

    def get(self, name: str, **labels: str) -> float:
        """The value of one sample, 0 where it is not listed yet."""
        return self.find(name, **labels) or 0.0

    def lists(self, name: str) -> bool:
        """Whether there is any sample of this name."""
        return any(known == PREFIX + name for known, _ in self.values)

    def total(self, name: str) -> float:
        """The sum over all labels."""
        return sum(value for (known, _), value in self.values.items() if known == PREFIX + name)


def read_samples(text: str) -> Samples:
    """Reads a page.

    Raises:
        Difference: at a line that is none of the format.
    """
    families: set[str] = set()
    values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            families.add(line.split(" ")[2])
        if not line or line.startswith("#"):
            continue
        found = _SAMPLE.fullmatch(line)
        try:
            assert found is not None
            value = float(found["value"])
        except (AssertionError, ValueError) as problem:
            raise Difference("/metrics", "a sample", line) from problem
        values[found["name"], frozenset(_LABEL.findall(found["labels"] or ""))] = value
    return Samples(frozenset(families), values)
