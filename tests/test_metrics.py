from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.ids import SequentialIds
from vb.events.bus import EventBus
from vb.events.leg import Cdr, LegConnected, LegDisconnected, LegMuted, LegRinging
from vb.metrics import CALL_BUCKETS_S, RECOVERED, Metrics

NAMES = (
    "voiceblender_legs_total",
    "voiceblender_disconnect_reasons_total",
    "voiceblender_call_duration_seconds",
    "voiceblender_call_total_duration_seconds",
    "voiceblender_webhook_enqueued_total",
    "voiceblender_webhook_dropped_total",
    "voiceblender_webhook_deliveries_total",
    "voiceblender_vsi_events_dropped_total",
    "voiceblender_recovered_panics_total",
    "voiceblender_api_wrong_tokens_total",
)


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    metrics.add_leg_types(("sip_inbound", "sip_outbound"))
    return metrics


@pytest.fixture
def bus(metrics: Metrics) -> EventBus:
    bus = EventBus("inst", SequentialIds())
    bus.subscribe(metrics.observe)
    return bus


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"voiceblender_{name}", labels)


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_is_there_from_the_start(metrics: Metrics, name: str) -> None:
    assert f"# TYPE {name} " in metrics.render().decode()


def test_counters_start_at_zero(metrics: Metrics) -> None:
    assert value(metrics, "webhook_enqueued_total") == 0
    assert value(metrics, "webhook_deliveries_total", outcome="exhausted") == 0
    assert value(metrics, "legs_total", type="sip_inbound", state="ringing") == 0
    assert value(metrics, "call_duration_seconds_count", type="sip_outbound") == 0


def test_types_that_are_shown_again_go_on_counting(metrics: Metrics) -> None:
    metrics._calls.states["sip_inbound", "ringing"] += 3
    metrics._calls.total["sip_inbound"].note(2.0)
    metrics.add_leg_types(("sip_inbound", "whatsapp_inbound"))
    assert value(metrics, "legs_total", type="sip_inbound", state="ringing") == 3
    assert value(metrics, "legs_total", type="whatsapp_inbound", state="ringing") == 0
    assert value(metrics, "call_total_duration_seconds_count", type="sip_inbound") == 1


def test_lost_text_is_counted_by_reason(metrics: Metrics) -> None:
    assert value(metrics, "rtt_lost_total", reason="overflow") == 0
    metrics.text_lost({"overflow": 2, "malformed": 1})
    metrics.text_lost({})
    assert value(metrics, "rtt_lost_total", reason="overflow") == 2
    assert value(metrics, "rtt_lost_total", reason="malformed") == 1


def test_two_servers_count_for_themselves() -> None:
    one, other = Metrics(), Metrics()
    one.webhooks_dropped.inc()
    assert value(other, "webhook_dropped_total") == 0


def test_a_call_is_counted_by_type_state_and_reason(metrics: Metrics, bus: EventBus) -> None:
    bus.publish(LegRinging(leg_id="a", leg_type="sip_inbound"))
    bus.publish(LegConnected(leg_id="a", leg_type="sip_inbound"))
    bus.publish(LegMuted(leg_id="a"))
    cdr = Cdr(reason="remote_bye", duration_total=40.0, duration_answered=20.0)
    bus.publish(LegDisconnected(leg_id="a", cdr=cdr))
    for state in ("ringing", "connected", "disconnected"):
        assert value(metrics, "legs_total", type="sip_inbound", state=state) == 1
    assert value(metrics, "disconnect_reasons_total", type="sip_inbound", reason="remote_bye") == 1
    assert value(metrics, "call_duration_seconds_sum", type="sip_inbound") == 20
    assert value(metrics, "call_total_duration_seconds_sum", type="sip_inbound") == 40


def test_a_call_that_was_never_answered_has_no_call_duration(metrics: Metrics, bus: EventBus) -> None:
    bus.publish(LegRinging(leg_id="a", leg_type="sip_outbound"))
    cdr = Cdr(reason="busy", duration_total=3.0, duration_answered=0)
    bus.publish(LegDisconnected(leg_id="a", cdr=cdr))
    assert value(metrics, "call_duration_seconds_count", type="sip_outbound") == 0
    assert value(metrics, "call_total_duration_seconds_count", type="sip_outbound") == 1


def test_a_leg_that_ended_leaves_nothing_behind(metrics: Metrics, bus: EventBus) -> None:
    bus.publish(LegRinging(leg_id="a", leg_type="sip_outbound"))
    bus.publish(LegDisconnected(leg_id="a", cdr=Cdr(reason="x", duration_total=1, duration_answered=1)))
    assert metrics._leg_types == {}


def test_the_buckets_are_those_that_dashboards_expect(metrics: Metrics) -> None:
    for bound in CALL_BUCKETS_S:
        assert value(metrics, "call_duration_seconds_bucket", type="sip_inbound", le=f"{bound}.0") == 0


def test_calls_are_in_all_buckets_that_are_long_enough_for_them(metrics: Metrics, bus: EventBus) -> None:
    for seconds in (4.0, 5.0, 5.1, 4000.0):
        bus.publish(LegRinging(leg_id="a", leg_type="sip_inbound"))
        bus.publish(
            LegDisconnected(leg_id="a", cdr=Cdr(reason="x", duration_total=seconds, duration_answered=0))
        )
    found = {
        bound: value(metrics, "call_total_duration_seconds_bucket", type="sip_inbound", le=bound)
        for bound in ("5.0", "15.0", "3600.0", "+Inf")
    }
    assert found == {"5.0": 2, "15.0": 3, "3600.0": 3, "+Inf": 4}
    assert value(metrics, "call_total_duration_seconds_count", type="sip_inbound") == 4


def test_sources_are_read_at_every_scrape(metrics: Metrics) -> None:
    depth = [1.0]
    metrics.add_source(lambda: [("queue_depth", "Waiting", depth[0], {"queue": "a"})])
    metrics.add_source(lambda: [("queue_depth", "Waiting", 5.0, {"queue": "b"})])
    assert b'voiceblender_queue_depth{queue="a"} 1.0' in metrics.render()
    depth[0] = 2.0
    text = metrics.render().decode()
    assert 'voiceblender_queue_depth{queue="a"} 2.0' in text
    assert text.count("# TYPE voiceblender_queue_depth gauge") == 1


SITES = [(component, site) for component, sites in RECOVERED.items() for site in sites]


@pytest.mark.parametrize(("component", "site"), SITES)
def test_a_contained_fault_is_counted_where_it_happened(metrics: Metrics, component: str, site: str) -> None:
    assert value(metrics, "recovered_panics_total", component=component, site=site) == 0
    metrics.recovered(component, site)
    assert value(metrics, "recovered_panics_total", component=component, site=site) == 1


def test_the_page_on_errors_names_each_site_that_counts_contained_faults() -> None:
    page = Path(__file__).parents[1] / "docs" / "discussion" / "errors.md"
    assert sorted(re.findall(r"`(\w+)/(\w+)`", page.read_text(encoding="utf-8"))) == sorted(SITES)


def test_label_values_are_escaped(metrics: Metrics, bus: EventBus) -> None:
    bus.publish(LegDisconnected(leg_id="a", cdr=Cdr(reason='a"\n', duration_total=1, duration_answered=0)))
    assert 'reason="a\\"\\n"' in metrics.render().decode()


def test_no_creation_times_clutter_the_text(metrics: Metrics) -> None:
    assert b"_created" not in metrics.render()
