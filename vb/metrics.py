"""Metrics: one registry per server, filled from the event bus and read by Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import ClassVar, Final, Protocol

from prometheus_client import CollectorRegistry, Counter, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "voiceblender"
LEG_STATES: Final = {
    "leg.ringing": "ringing",
    "leg.connected": "connected",
    "leg.disconnected": "disconnected",
}
WRONG_TOKEN_STATUSES: Final = ("401", "429")
TEXT_LOSSES: Final = ("overflow", "malformed")
OUTCOMES: Final = ("success", "exhausted", "marshal_error", "request_error", "undelivered")
RECOVERED: Final = {
    "agents": ("ear",),
    "api": ("connection", "request"),
    "commands": ("call",),
    "engine": ("leg", "room"),
    "legs": ("task",),
    "quic": ("connection", "session"),
    "slots": ("leg", "room"),
    "uploads": ("upload",),
    "webhooks": ("delivery", "event", "spool"),
}
"""Components and their sites that contain faults of ours; the mixer and SIP have counters of their own."""
CALL_BUCKETS_S: Final = (5, 15, 30, 60, 120, 300, 600, 1800, 3600)

Reading = tuple[str, str, float, Mapping[str, str]]
"""Name without prefix, help text, value and labels of a gauge."""

Source = Callable[[], Iterable[Reading]]


class _Kind(Protocol):
    type: ClassVar[str]


class Observation(Protocol):
    """What metrics need to know of a published event."""

    @property
    def event(self) -> _Kind:
        """Return the event, whose class knows its type."""
        ...

    @property
    def leg_id(self) -> str | None:
        """Return the leg it is about."""
        ...


class _Gauges(Collector):
    """Collects the gauges of all sources when Prometheus asks."""

    def __init__(self) -> None:
        self.sources: list[Source] = []

    def collect(self) -> Iterable[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for source in self.sources:
            for name, text, value, labels in source():
                family = families.get(name)
                if family is None:
                    family = GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=tuple(labels))
                    families[name] = family
                family.add_metric(tuple(labels.values()), value)
        return families.values()


class _Durations:
    """How long calls of one type took: how many are in each bucket, the last being endless, and in all."""

    def __init__(self) -> None:
        self.counts = [0] * (len(CALL_BUCKETS_S) + 1)
        self.sum_s = 0.0

    def note(self, seconds: float) -> None:
        self.counts[bisect_left(CALL_BUCKETS_S, seconds)] += 1
        self.sum_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Return the bounds and how many calls were no longer, as the format has them."""
        bounds = [*(str(float(bound)) for bound in CALL_BUCKETS_S), "+Inf"]
        return list(zip(bounds, accumulate(self.counts), strict=True))


class _Calls(Collector):
    """What is counted of every call, in plain numbers that only a scrape makes metrics of.

    Attributes:
        states: legs by type and state.
        reasons: ended legs by type and reason.
        answered: times from the answer to the end by type.
        total: times from the creation to the end by type.
    """

    def __init__(self) -> None:
        self.states: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.reasons: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.answered: defaultdict[str, _Durations] = defaultdict(_Durations)
        self.total: defaultdict[str, _Durations] = defaultdict(_Durations)

    def add_type(self, kind: str) -> None:
        """Show a type, at zero unless it is counted already."""
        self.answered.setdefault(kind, _Durations())
        self.total.setdefault(kind, _Durations())
        for state in LEG_STATES.values():
            self.states.setdefault((kind, state), 0)

    def collect(self) -> Iterable[Metric]:
        for name, text, label, counts in (
            ("legs", "Legs by the state that they reached", "state", self.states),
            ("disconnect_reasons", "Ended legs by reason", "reason", self.reasons),
        ):
            family = CounterMetricFamily(f"{PREFIX}_{name}", text, labels=("type", label))
            for labels, count in counts.items():
                family.add_metric(labels, count)
            yield family
        for name, text, durations in (
            ("call_duration_seconds", "Time from the answer to the end", self.answered),
            ("call_total_duration_seconds", "Time from the creation to the end", self.total),
        ):
            histogram = HistogramMetricFamily(f"{PREFIX}_{name}", text, labels=("type",))
            for kind, found in durations.items():
                histogram.add_metric((kind,), found.buckets(), found.sum_s)
            yield histogram


class _Current(Collector):
    """The registry without the times of creation, which the format 0.0.4 can only show as further gauges."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            metric.samples = [item for item in metric.samples if not item.name.endswith("_created")]
            yield metric


class Metrics:
    """Counters, histograms and gauges of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._gauges = _Gauges()
        self._leg_types: dict[str, str] = {}
        self._calls = _Calls()
        self.registry.register(self._calls)
        self._deliveries = self._counter("webhook_deliveries", "Webhook jobs by outcome", "outcome")
        self._panics = self._counter(
            "recovered_panics", "Faults that were contained where they happened", "component", "site"
        )
        self.webhooks_enqueued = self._counter("webhook_enqueued", "Events queued for webhooks")
        self.webhooks_dropped = self._counter("webhook_dropped", "Events dropped before a webhook was tried")
        self.vsi_events_dropped = self._counter("vsi_events_dropped", "Events that slow VSI clients missed")
        self._wrong_tokens = self._counter(
            "api_wrong_tokens", "Requests with a wrong API token by status of the answer", "status"
        )
        self._text_lost = self._counter("rtt_lost", "Real-time text that was lost, by reason", "reason")
        self._unsent = self._counter(
            "rtp_unsent", "RTCP, text and keep-alives of ended legs that the network refused", "reason"
        )
        self._register_at_zero()
        self.registry.register(self._gauges)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _register_at_zero(self) -> None:
        for outcome in OUTCOMES:
            self._deliveries.labels(outcome)
        for component, sites in RECOVERED.items():
            for site in sites:
                self._panics.labels(component, site)
        for status in WRONG_TOKEN_STATUSES:
            self._wrong_tokens.labels(status)
        self.text_lost(dict.fromkeys(TEXT_LOSSES, 0))

    def add_leg_types(self, kinds: Iterable[str]) -> None:
        """Show the types of a kind of leg at zero before there is one."""
        for kind in kinds:
            self._calls.add_type(kind)

    def add_source(self, source: Source) -> None:
        """Read more gauges from `source` at every scrape; readings of one name share their labels."""
        self._gauges.sources.append(source)

    def delivered(self, outcome: str) -> None:
        """Count the outcome of one webhook job: one of OUTCOMES."""
        self._deliveries.labels(outcome).inc()

    def recovered(self, component: str, site: str) -> None:
        """Count a fault that was contained at a site of a component: one of RECOVERED."""
        self._panics.labels(component, site).inc()

    def wrong_token(self, status: int) -> None:
        """Count a request with a wrong API token: one of WRONG_TOKEN_STATUSES."""
        self._wrong_tokens.labels(str(status)).inc()

    def text_lost(self, losses: Mapping[str, int]) -> None:
        """Count what one stream of real-time text has lost, by reason."""
        for reason, count in losses.items():
            self._text_lost.labels(reason).inc(count)

    def unsent(self, errors: Mapping[str, int]) -> None:
        """Count what one pair of media sockets could not send besides audio, by error number."""
        for reason, count in errors.items():
            self._unsent.labels(reason).inc(count)

    def observe(self, published: Observation) -> None:
        """Count an event; subscribe this to the bus."""
        state = LEG_STATES.get(published.event.type)
        leg_id = published.leg_id
        if state is None or leg_id is None:
            return
        event = published.event
        # What is known is not asked of the event: pydantic is slow to say that it has no such field.
        kind = self._leg_types.get(leg_id) or str(getattr(event, "leg_type", None) or "unknown")
        calls = self._calls
        calls.states[kind, state] += 1
        if state != "disconnected":
            self._leg_types[leg_id] = kind
            return
        self._leg_types.pop(leg_id, None)
        cdr = getattr(event, "cdr", None)
        if cdr is not None:
            calls.reasons[kind, str(cdr.reason)] += 1
            calls.total[kind].note(float(cdr.duration_total))
            if cdr.duration_answered:
                calls.answered[kind].note(float(cdr.duration_answered))

    def render(self) -> bytes:
        """Return everything in the Prometheus text format 0.0.4."""
        return generate_latest(_Current(self.registry))
