"""Many calls that end at once, against a server process: few enough here for any machine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from bench.bursts import run_burst
from bench.cases import BurstCase
from bench.outcome import BurstFigures, Options
from bench.server import ROOT

pytestmark = pytest.mark.integration

EVENTS = {"delete": 121, "hang up": 160, "stop": 160}


def run(kind: Literal["delete", "hang up", "stop"], checkout: Path = ROOT) -> tuple[BurstFigures, list[str]]:
    outcome = run_burst(BurstCase("few", 80, kind), checkout, Options())
    assert isinstance(outcome.figures, BurstFigures)
    return outcome.figures, list(outcome.faults)


@pytest.mark.parametrize("kind", ["delete", "hang up", "stop"])
def test_every_event_of_a_burst_reaches_three_clients_and_the_webhook(
    kind: Literal["delete", "hang up", "stop"],
) -> None:
    figures, faults = run(kind)
    assert faults == []
    assert (figures.events, figures.events_lost, figures.webhooks_lost) == (EVENTS[kind], 0, 0)
    assert figures.unread + figures.unread_told == figures.events
