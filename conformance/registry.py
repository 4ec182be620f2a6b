"""The scenarios, by name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.world import World

Body = Callable[["World"], Awaitable[None]]


@dataclass(frozen=True)
class Scenario:
    """One flow to check.

    Attributes:
        name: The name of its function, used on the command line.
        what: One sentence for the report.
        body: What it does.
        env: Settings that it needs beyond the usual ones; a scenario with some gets a server of its own.
        own_server: Whether it needs a server of its own anyway (it stops it, or counts on a clean start).
        timeout_s: How long it may take.
        needs: What it must have: "hooks", "recordings", or "servers", when it starts some of its own.
    """

    name: str
    what: str
    body: Body
    env: Mapping[str, str] = field(default_factory=dict)
    own_server: bool = False
    timeout_s: float = 40.0
    needs: frozenset[str] = frozenset()


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    what: str,
    *,
    env: Mapping[str, str] | None = None,
    own_server: bool = False,
    timeout_s: float = 40.0,
    needs: tuple[str, ...] = (),
) -> Callable[[Body], Body]:
    """Registers the decorated function as a scenario under its own name."""

    def register(body: Body) -> Body:
        name = getattr(body, "__name__", "")
        if name in SCENARIOS:
            raise ValueError(f"two scenarios named {name}")
        SCENARIOS[name] = Scenario(
            name, what, body, dict(env or {}), own_server or bool(env), timeout_s, frozenset(needs)
        )
        return body

    return register


def load_all() -> dict[str, Scenario]:
    """Imports every scenario module and returns the scenarios in definition order."""
    package = importlib.import_module("conformance.scenarios")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"conformance.scenarios.{module.name}")
    importlib.import_module("conformance.twins").add_twins(SCENARIOS)
    return SCENARIOS
