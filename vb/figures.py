"""Figures of calls, of the media plane and of recordings for the metrics; kinds of leg have their own."""

from __future__ import annotations

from collections.abc import Iterator

import trio

from vb.engine import Engine
from vb.metrics import Reading
from vb.mixer.ticks import TickGrid


def add_figures(engine: Engine, grid: TickGrid) -> None:
    """Let the metrics read calls, the plane, its clock, ports, recordings and look-ups at every scrape."""

    def calls() -> Iterator[Reading]:
        yield "active_legs", "Legs that are registered now", len(engine.legs), {}
        yield "active_rooms", "Rooms that exist now", len(engine.rooms), {}

    def plane() -> Iterator[Reading]:
        lateness = grid.lateness(trio.current_time())
        text = "How late the ticks of the last minute began"
        yield "tick_lateness_seconds", text, lateness.p50_ms / 1000, {"quantile": "0.5"}
        yield "tick_lateness_seconds", text, lateness.p99_ms / 1000, {"quantile": "0.99"}
        yield "tick_lateness_seconds", text, lateness.max_ms / 1000, {"quantile": "1"}
        yield "ticks_late", "Ticks that began more than 5 ms late", grid.late, {}
        yield (
            "ticks_skipped",
            "Ticks that were given up because they were five periods late",
            grid.skipped,
            {},
        )
        totals = engine.plane.statistics
        yield "ticks", "Ticks of the media plane; it has none while nobody is there", totals.ticks, {}
        yield "rtp_packets_in", "Datagrams taken from media sockets", totals.packets_in, {}
        yield "rtp_packets_out", "RTP packets handed to media sockets", totals.packets_out, {}
        yield (
            "opus_complexity",
            "Work that Opus encoders put into a frame now, 0 to 10; -1 for the least, without speech coding",
            engine.plane.complexity.level,
            {},
        )
        resting = "Packets that were not decoded because their sender says that they hold silence"
        yield "opus_packets_rested", resting, totals.rested, {}
        yield "mixer_faults", "Legs, sources and taps that failed inside the mixer", totals.faults, {}
        for reason, count in totals.dropped.items():
            yield "rtp_packets_dropped", "Media datagrams that were not used", count, {"reason": reason}
        for reason, count in engine.plane.socket_errors.items():
            yield "rtp_socket_errors", "What media sockets refused", count, {"reason": reason}
        yield "bridges", "Bridges between rooms", len(engine.bridges), {}
        yield "bridge_frames_dropped", "Frames that bridges dropped", engine.bridges.dropped, {}
        yield "media_ports", "Places taken in the media plane", engine.plane.ports, {}
        if not engine.ports.os_chosen:  # then there is no pool that could run dry
            yield "rtp_port_pairs_free", "Port pairs left in the pool", engine.ports.free, {}

    def recordings() -> Iterator[Reading]:
        for outcome, count in engine.recorders.outcomes.items():
            yield "recordings", "Recordings that have ended by outcome", count, {"outcome": outcome}
        found = engine.recorders.storage.uploads
        yield "recording_uploads_running", "Uploads of recordings under way", found.running, {}
        yield "recording_uploads_waiting", "Uploads of recordings that wait for a place", found.waiting, {}
        for outcome, count in found.outcomes.items():
            yield "recording_uploads", "Uploads of recordings by outcome", count, {"outcome": outcome}

    for source in (calls, plane, recordings, engine.web.readings):
        engine.metrics.add_source(source)
