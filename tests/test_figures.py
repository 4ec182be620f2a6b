"""Gauges of an engine, with or without an HTTP edge."""

from __future__ import annotations

from tests.support.engine import Observed, open_engine
from vb.config import Config
from vb.figures import add_figures
from vb.mixer.ticks import TickGrid


def figure(observed: Observed, name: str) -> float | None:
    return observed.engine.metrics.registry.get_sample_value(f"voiceblender_{name}")


async def test_legs_and_rooms_are_counted_without_an_http_edge() -> None:
    async with open_engine() as observed:
        add_figures(observed.engine, TickGrid(0.0))
        assert (figure(observed, "active_legs"), figure(observed, "active_rooms")) == (0, 0)
        observed.leg("a")
        observed.leg("b")
        observed.engine.rooms.open("r")
        assert (figure(observed, "active_legs"), figure(observed, "active_rooms")) == (2, 1)


async def test_the_pool_of_ports_has_a_gauge_only_when_there_is_a_pool() -> None:
    for first, last, free in ((10_000, 10_199, 100), (0, 0, None)):
        ports = {"RTP_PORT_MIN": str(first), "RTP_PORT_MAX": str(last)}
        async with open_engine(Config.from_env(ports)) as observed:
            add_figures(observed.engine, TickGrid(0.0))
            assert figure(observed, "rtp_port_pairs_free") == free
