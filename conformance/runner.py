"""Runs scenarios one after the other and tells what differed."""

from __future__ import annotations

import json
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from conformance.expect import Difference
from conformance.peers.http import HttpClient
from conformance.peers.media_server import MediaServer, open_media
from conformance.peers.webhook_sink import WebhookSink, open_sink
from conformance.registry import Scenario
from conformance.stalls import StallWatch, watching
from conformance.targets import SECRET, Target, started
from conformance.world import World, clean_up, open_world

MAX_TRACE_LINES = 30
ATTEMPTS = 3
"""How often a scenario may run when the machine was too busy to judge it."""
PAUSE_S = 2.0
"""How long to let a busy machine come to rest."""
NOT_OF_TIME = ("server", "server log", "the scenario itself")
"""Differences that no busy machine can excuse."""


@dataclass(frozen=True)
class Outcome:
    """How one scenario went; ``where`` is empty when it passed.

    Attributes:
        used: What of the server's interface it made work, named as in the ledger.
        fields: The fields that it sent and read, as `seen` notes them.
        again: Why it ran more than once: how long the machine stalled, and what differed then.
    """

    name: str
    what: str
    seconds: float
    where: str = ""
    expected: str = ""
    got: str = ""
    not_run: str = ""
    used: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    again: str = ""

    @property
    def passed(self) -> bool:
        return not self.where and not self.not_run

    @property
    def failed(self) -> bool:
        return bool(self.where)

    def line(self) -> str:
        """The outcome as text for a terminal."""
        mark = "ok  " if self.passed else "FAIL" if self.failed else "-   "
        head = f"{mark} {self.name:<24} {self.seconds:6.1f} s"
        if self.not_run:
            return f"{head}  not run: {self.not_run}"
        if self.passed:
            return f"{head}  again: {self.again}" if self.again else head
        return "\n".join(
            [
                f"{head}  {self.what}",
                *([f"    again: {self.again}"] if self.again else []),
                f"    {self.where}",
                f"      expected {self.expected}",
                f"      got      {self.got}",
            ]
        )


def first_problem(error: BaseException) -> BaseException:
    """The first `Difference` within an exception group, else its first leaf."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    differences = error.subgroup(Difference)
    group: BaseException = differences if differences is not None else error
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def outcome_of(item: Scenario, seconds: float, error: BaseException | None) -> Outcome:
    """The outcome of a scenario that ended with ``error``, or well."""
    if error is None:
        return Outcome(item.name, item.what, seconds)
    problem = first_problem(error)
    if isinstance(problem, Difference):
        return Outcome(item.name, item.what, seconds, problem.where, repr(problem.expected), str(problem.got))
    trace = "".join(traceback.format_exception(problem)).splitlines()[-MAX_TRACE_LINES:]
    return Outcome(item.name, item.what, seconds, "the scenario itself", "no exception", "\n".join(trace))


async def judged(attempt: Callable[[], Awaitable[Outcome]], watch: StallWatch) -> Outcome:
    """The outcome of the first attempt that tells: it passed, or failed while the machine kept up."""
    stalls: list[str] = []
    while True:
        watch.begin()
        outcome = replace(await attempt(), again="; ".join(stalls))
        problem = watch.problem()
        excused = outcome.failed and outcome.where not in NOT_OF_TIME and problem
        if not excused or len(stalls) + 1 == ATTEMPTS:
            return outcome
        stalls.append(f"{outcome.where} differed with {problem}")
        await trio.sleep(PAUSE_S)


class Runner:
    """Holds the shared server and the receivers while scenarios run."""

    def __init__(
        self,
        nursery: trio.Nursery,
        home: Path,
        remote: Target | None,
        sink: WebhookSink,
        media: MediaServer,
        watch: StallWatch,
    ) -> None:
        self._nursery = nursery
        self._home = home
        self._remote = remote
        self._sink = sink
        self._media = media
        self._watch = watch
        self._servers = 0
        self._shared: Target | None = None
        self._shared_stop = trio.Event()
        self._world: World | None = None
        self._is_tidy = remote is None

    def _place(self, env: Mapping[str, str]) -> tuple[Path, dict[str, str]]:
        """Home and settings of the next server."""
        self._servers += 1
        settings = {"WEBHOOK_URL": self._sink.url("/hook"), "WEBHOOK_SECRET": SECRET, **env}
        return self._home / f"server-{self._servers}", settings

    async def _keep_shared(
        self, stop: trio.Event, *, task_status: trio.TaskStatus[Target] = trio.TASK_STATUS_IGNORED
    ) -> None:
        async with started(*self._place({})) as target:
            task_status.started(target)
            await stop.wait()

    async def prepare(self, item: Scenario) -> None:
        """Sees that the shared server runs, where the scenario uses it.

        Raises:
            Difference: when it does not come up.
        """
        if item.own_server or self._remote is not None:
            return
        if self._shared is None or self._shared.has_crashed():
            self.close()
            self._shared = await self._nursery.start(self._keep_shared, self._shared_stop)

    def close(self) -> None:
        """Lets the shared server stop."""
        self._shared = None
        self._shared_stop.set()
        self._shared_stop = trio.Event()

    def _missing(self, item: Scenario) -> str:
        if self._remote is None:
            return ""
        if item.own_server or "servers" in item.needs:
            return "needs a server with settings of its own"
        if "hooks" in item.needs and self._remote.webhook_secret is None:
            return "needs --webhook-port and --webhook-secret"
        if "recordings" in item.needs and self._remote.recording_dir is None:
            return "needs --recording-dir"
        return ""

    async def run(self, item: Scenario) -> Outcome:
        """Runs a scenario, and again where it failed while the machine stalled: then nothing was measured."""
        missing = self._missing(item)
        if missing:
            return Outcome(item.name, item.what, 0.0, not_run=missing)
        return await judged(lambda: self._once(item), self._watch)

    async def _once(self, item: Scenario) -> Outcome:
        """Runs one scenario within its time."""
        start = time.monotonic()
        error: BaseException | None = None
        self._world = None
        try:
            await self.prepare(item)
            with trio.fail_after(item.timeout_s + (60 if item.own_server else 15)):
                error = await self._attempt(item)
        except trio.TooSlowError:
            error = Difference(item.name, f"an end within {item.timeout_s} s", "still waiting")
        except (Difference, ExceptionGroup, OSError) as problem:
            error = problem
        outcome = outcome_of(item, time.monotonic() - start, error)
        return replace(
            outcome,
            used=tuple(sorted(self._world.used() if self._world else ())),
            fields=tuple(sorted(self._world.fields() if self._world else ())),
        )

    async def _attempt(self, item: Scenario) -> Exception | None:
        await self._tidy()
        self._sink.reset()
        async with AsyncExitStack() as stack:
            target = self._remote or self._shared
            if item.own_server:
                target = await stack.enter_async_context(started(*self._place(item.env)))
            assert target is not None
            faults_before = target.faults()
            problem: Exception | None = None
            try:
                problem = await self._play(item, target)
            except (Difference, ExceptionGroup) as error:
                problem = error
            if not target.has_crashed():
                try:
                    await clean_up(HttpClient(*target.http, target.headers))
                except Difference as difference:
                    problem = problem or difference
            elif not item.own_server:
                problem = Difference("server", "still running", f"exit code {_code(target)}; was: {problem}")
            if problem is None and target.faults() > faults_before:
                problem = Difference("server log", "no unhandled fault", target.log_problem())
            return problem

    async def _tidy(self) -> None:
        """Clears a server that ran before us of what is on it, once."""
        if not self._is_tidy and self._remote is not None:
            await clean_up(HttpClient(*self._remote.http, self._remote.headers))
            self._is_tidy = True

    async def _play(self, item: Scenario, target: Target) -> Exception | None:
        """The scenario within its own time; the boundary where any exception becomes its outcome."""
        async with open_world(target, self._sink, self._media) as world:
            self._world = world
            try:
                with trio.fail_after(item.timeout_s):
                    await item.body(world)
            except trio.TooSlowError:
                return Difference(item.name, f"an end within {item.timeout_s} s", "still waiting")
            except Exception as error:
                return error
        return None


def _code(target: Target) -> object:
    return target.process.returncode if target.process else None


@asynccontextmanager
async def open_runner(remote: Target | None = None, *, webhook_port: int = 0) -> AsyncIterator[Runner]:
    """A runner with receivers of its own; its servers end with the block."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as home, watching() as watch:
        async with open_sink(webhook_port) as sink, open_media() as media, trio.open_nursery() as nursery:
            runner = Runner(nursery, Path(home), remote, sink, media, watch)
            yield runner
            runner.close()


async def run_all(
    scenarios: Sequence[Scenario], remote: Target | None, *, webhook_port: int = 0
) -> list[Outcome]:
    """Runs the scenarios in order, printing each outcome as it comes."""
    outcomes: list[Outcome] = []
    async with open_runner(remote, webhook_port=webhook_port) as runner:
        for item in scenarios:
            outcome = await runner.run(item)
            outcomes.append(outcome)
            print(outcome.line(), flush=True)
    return outcomes


def as_json(outcomes: Sequence[Outcome], ledger_problems: Sequence[str] | None = None) -> str:
    """The report for machines; ``ledger_problems`` are None where the ledger was not held against the run."""
    return json.dumps(
        {
            **({} if ledger_problems is None else {"ledger_problems": list(ledger_problems)}),
            "passed": sum(o.passed for o in outcomes),
            "failed": sum(o.failed for o in outcomes),
            "not_run": sum(bool(o.not_run) for o in outcomes),
            "scenarios": [
                {
                    "name": o.name,
                    "what": o.what,
                    "result": "passed" if o.passed else "failed" if o.failed else "not run",
                    "seconds": round(o.seconds, 2),
                    "used": list(o.used),
                    "fields": list(o.fields),
                    **({"where": o.where, "expected": o.expected, "got": o.got} if o.failed else {}),
                    **({"why": o.not_run} if o.not_run else {}),
                    **({"again": o.again} if o.again else {}),
                }
                for o in outcomes
            ],
        },
        indent=1,
    )
