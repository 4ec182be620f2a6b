"""How a real call sounds is sampled, and told by what the far end reports too."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.support.phone import open_phone
from tests.support.world import call_in, wait_for
from vb.config import Config
from vb.history.model import QualityList
from vb.history.tasks import service
from vb.server import open_server

pytestmark = pytest.mark.integration


async def test_a_call_tells_how_it_sounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SAMPLE_EVERY_S", 0.25)
    basic = {"HTTP_ADDR": "127.0.0.1:0", "SIP_PORT": "0", "RTP_PORT_MIN": "0", "RTP_PORT_MAX": "0"}
    config = Config.from_env(
        {**basic, "VB_DATA_DIR": str(tmp_path / "history"), "VB_HISTORY_PROCESS": "false"}
    )
    async with open_server(config) as server, open_phone(500) as phone:
        with server.events() as events:
            leg = await call_in(server, phone, events)
            await trio.sleep(1.5)
            await server.call("delete_leg", id=leg)
            await wait_for(events, "call.recorded", leg_id=leg)
        told = await server.call("list_call_quality", id=leg)
    assert isinstance(told, QualityList)
    assert len(told.results) >= 2
    for sample in told.results:
        assert sample.packets_received > 3
        assert 1.0 <= sample.mos_score <= 4.5
    times = [sample.time for sample in told.results]
    assert times == sorted(times)
