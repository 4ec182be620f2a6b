from __future__ import annotations

import uuid

import pytest

from tests.history.making import BASE_US, change, write
from vb.errors import NotFound
from vb.events.base import Event, Published
from vb.events.bus import EventBus
from vb.events.leg import Cdr, LegConnected, LegDisconnected, LegRinging
from vb.history.collector import QUALITY_EVERY_US, Collector
from vb.history.edge import list_entries, list_quality
from vb.history.packing import pack
from vb.history.quality import MAX_ROWS, QUALITY_PART, QualityTrack, Row, rows_of
from vb.history.store import Store
from vb.history.writer import prepare
from vb.ids import SystemIds
from vb.legs.link import Link

LEG = str(change(1).call_id)


def link(
    received: int, lost: int = 0, *, ssrc: int = 1, jitter_ms: float = 2.0, trip: float | None = None
) -> Link:
    return Link(ssrc, received, received + lost, jitter_ms, trip, None if trip is None else 1.5)


def test_each_row_tells_of_its_own_stretch() -> None:
    track = QualityTrack()
    assert not track.add(0, link(100))
    assert track.add(5_000, link(350, 2, trip=20.25))
    assert track.add(10_000, link(590, 12))
    assert track.rows == [Row(5_000, 250, 2, 2_000, 20_250, 15), Row(10_000, 240, 10, 2_000, None, None)]
    assert [row.mos for row in track.rows] == [4.36, 4.13]
    assert list(rows_of(track.take())) == track.rows
    assert not track.grown


def test_a_stream_that_rests_or_begins_anew_makes_no_row() -> None:
    track = QualityTrack()
    track.add(0, link(100))
    assert not track.add(5_000, link(100))  # on hold
    assert not track.add(10_000, link(30, ssrc=2))
    assert not track.add(15_000, link(10, ssrc=2))  # the counters began anew
    assert track.add(20_000, link(260, ssrc=2))
    assert [row.received for row in track.rows] == [250]


def test_duplicates_are_no_negative_loss() -> None:
    track = QualityTrack()
    track.add(0, link(100, 5))
    track.add(5_000, link(400, 0))
    assert track.rows[0].lost == 0


def test_a_stretch_in_which_all_was_lost_scores_lowest() -> None:
    track = QualityTrack()
    track.add(0, link(100))
    track.add(5_000, link(100, 250))
    assert (track.rows[0].lost, track.rows[0].mos) == (250, 1.0)


def test_a_long_call_is_told_as_a_whole_with_few_rows() -> None:
    track = QualityTrack()
    for number in range(5_000):
        track.add(number * 5_000, link(number * 250, number))
    assert len(track.rows) < MAX_ROWS
    assert sum(row.received for row in track.rows) > 4_960 * 250
    steps = {later.at_ms - row.at_ms for row, later in zip(track.rows, track.rows[1:], strict=False)}
    assert len(steps) == 1
    assert track.rows[-1].at_ms > 4_960 * 5_000


def collected() -> tuple[Collector, EventBus]:
    bus, collector = EventBus("edge-1", SystemIds(), lambda: BASE_US * 1_000), Collector("edge-1")

    def observe(published: Published) -> None:
        collector.observe(published)

    bus.subscribe(observe)
    for event in (
        LegRinging(leg_id=LEG, leg_type="sip_inbound"),
        LegConnected(leg_id=LEG, leg_type="sip_inbound"),
    ):
        bus.publish(event)
    return collector, bus


def publish_end(bus: EventBus) -> Event:
    return bus.publish(
        LegDisconnected(leg_id=LEG, cdr=Cdr(reason="remote_bye", duration_total=1, duration_answered=1))
    ).event


def test_samples_are_written_with_what_else_happens_and_once_a_minute() -> None:
    collector, bus = collected()
    collector.take()
    for number in range(5):
        collector.sample(LEG, link(number * 250), BASE_US + number * 5_000_000)
    assert collector.waiting == 0
    collector.sample(LEG, link(9_000), BASE_US + QUALITY_EVERY_US)
    (told,) = collector.take()
    assert [number for number, _ in told.parts] == [QUALITY_PART]
    collector.give_back([told])
    publish_end(bus)
    (last,) = collector.take()
    assert len(list(rows_of(dict(last.parts)[QUALITY_PART]))) == 5
    collector.sample(LEG, link(10_000), BASE_US + 2 * QUALITY_EVERY_US)  # it is over
    assert collector.waiting == 0


def test_rows_are_stored_apart_from_what_happened(store: Store) -> None:
    collector, bus = collected()
    for number in range(4):
        collector.sample(LEG, link(number * 250, number, trip=12.5), BASE_US + number * 5_000_000)
    publish_end(bus)
    store.write([prepare(item) for item in collector.take()])
    found = list_quality(store, LEG).results
    assert [(sample.packets_received, sample.packets_lost) for sample in found] == [(250, 1)] * 3
    assert found[0].model_dump(mode="json", by_alias=True) == {
        "time": "2026-09-21T14:13:25.000000Z",
        "packetsReceived": 250,
        "packetsLost": 1,
        "jitterMs": 2.0,
        "roundTripMs": 12.5,
        "farLostPercent": 1.5,
        "mosScore": 4.38,
    }
    assert [entry.type for entry in list_entries(store, LEG).results] == [
        "leg.ringing",
        "leg.connected",
        "leg.disconnected",
    ]


def test_a_call_without_rtp_has_none(store: Store) -> None:
    store.write([write(1)])
    assert list_quality(store, LEG).results == []
    with pytest.raises(NotFound):
        list_quality(store, str(uuid.uuid4()))


def test_twenty_minutes_take_few_bytes() -> None:
    track = QualityTrack()
    for number in range(240):
        track.add(
            number * 5_000,
            link(
                number * 250 + number % 3, number // 7, jitter_ms=1 + number % 17 / 10, trip=20 + number % 5
            ),
        )
    assert len(pack(track.take())) < 2_500
