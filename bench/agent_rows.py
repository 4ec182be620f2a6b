"""Rows of the cases with agents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from bench.cases import (
    AGENTS_LATENESS_P99_MS,
    DUCKED_P95_MS,
    SERVER_SHARE_P50_MS,
    SERVER_SHARE_P95_MS,
    SILENCED_P95_MS,
)
from bench.figures import FaultyAgentFigures, Spread
from bench.outcome import AgentFigures, OwnAgentFigures
from bench.row import Own


def _tick(read: Callable[[Spread], float]) -> Callable[[AgentFigures | OwnAgentFigures], float | None]:
    return lambda f: None if f.lateness is None else read(f.lateness)


AGENTS: Final[Sequence[Own[AgentFigures]]] = (
    ("CPU, µs per leg and tick", lambda f: f.window.cpu_us, None),
    ("time without a core, % of the window", lambda f: f.window.core_wait_percent, None),
    ("tick lateness at callers p99, ms", lambda f: f.window.egress.p99_ms, AGENTS_LATENESS_P99_MS),
    ("tick lateness of the server p99, ms", _tick(lambda s: s.p99_ms), AGENTS_LATENESS_P99_MS),
    ("tick lateness of the server max, ms", _tick(lambda s: s.max_ms), None),
    ("interrupted to the last of the agent p50, ms", lambda f: f.silenced.p50_ms, None),
    ("interrupted to the last of the agent p95, ms", lambda f: f.silenced.p95_ms, SILENCED_P95_MS),
    ("messages of audio a second", lambda f: f.messages_per_s, None),
    ("generator lateness p99, ms", lambda f: f.window.load.p99_ms, None),
    ("generator: partners late by at most, ms", lambda f: f.partners_late_ms, None),
    ("load average of the machine", lambda f: f.window.load_average, None),
)

STEPS: Final = ("turn judged over", "model's first words", "voice's first sample", "first frame out")


def _step(name: str) -> Own[OwnAgentFigures]:
    return f"of it by the server: {name} p50, ms", lambda f: f.steps_ms[name], None


OWN_AGENTS: Final[Sequence[Own[OwnAgentFigures]]] = (
    ("CPU, µs per leg and tick", lambda f: f.window.cpu_us, None),
    ("time without a core, % of the window", lambda f: f.window.core_wait_percent, None),
    ("tick lateness at callers p99, ms", lambda f: f.window.egress.p99_ms, AGENTS_LATENESS_P99_MS),
    ("tick lateness of the server p99, ms", _tick(lambda s: s.p99_ms), AGENTS_LATENESS_P99_MS),
    ("tick lateness of the server max, ms", _tick(lambda s: s.max_ms), None),
    ("the server's share of an answer p50, ms", lambda f: f.server_share.p50_ms, SERVER_SHARE_P50_MS),
    ("the server's share of an answer p95, ms", lambda f: f.server_share.p95_ms, SERVER_SHARE_P95_MS),
    ("speech to the last of the agent p50, ms", lambda f: f.ducked.p50_ms, None),
    ("speech to the last of the agent p95, ms", lambda f: f.ducked.p95_ms, DUCKED_P95_MS),
    *(_step(name) for name in STEPS),
    ("answers", lambda f: float(f.answers), None),
    ("generator lateness p99, ms", lambda f: f.window.load.p99_ms, None),
    ("generator: partners late p95, ms", lambda f: f.partners_late_p95_ms, None),
    ("generator: partners late by at most, ms", lambda f: f.partners_late_ms, None),
    ("load average of the machine", lambda f: f.window.load_average, None),
)

FAULTY_AGENTS: Final[Sequence[Own[FaultyAgentFigures]]] = (
    ("sessions", lambda f: float(f.sessions), None),
    ("sessions whose end was not told", lambda f: float(f.sessions - f.ended), 0.0),
    ("left over: tasks, files and processes", lambda f: float(f.left), 0.0),
    ("until nothing was left, s", lambda f: f.took_s, None),
)
