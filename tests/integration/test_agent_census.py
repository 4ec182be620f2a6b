"""Agents come and go, their partners fail in every way, and the server holds what it held before."""

from __future__ import annotations

import os
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from bench.agents import VOICE, settings_of
from bench.agents_faulty import OWN_FAULTS
from bench.host import Placement
from bench.open_files import connections_to, open_files
from bench.partner_lines import FAULTS
from bench.partners import Partners, running_partners
from bench.watched import task_names
from tests.support.phone import open_phone
from tests.support.world import Events, call_in
from vb.config import Config
from vb.errors import Conflict, NotAvailable, NotFound
from vb.server import Server, open_server

pytestmark = pytest.mark.integration

SESSIONS = 24
KINDS = (*(("pipecat", fault) for fault in FAULTS), *(("local", fault) for fault in (*OWN_FAULTS, "none")))
ENDS_WITHIN_S = 5.0


def _settings(partners: Partners, folder: Path) -> dict[str, str]:
    own = {
        "HTTP_ADDR": "127.0.0.1:0",
        "SIP_PORT": "0",
        "RTP_PORT_MIN": "0",
        "RTP_PORT_MAX": "0",
        "RECORDING_DIR": str(folder / "recordings"),
        "VB_DATABASE_URL": "off",
    }
    return settings_of(partners) | own


async def _come_and_go(
    server: Server, partners: Partners, leg: str, kind: str, fault: str, life_s: float
) -> None:
    if kind == "pipecat":
        url = f"{partners.ws_url}/bot?leg=1&fault={fault}"
        await server.call("leg_agent_pipecat", id=leg, websocket_url=url)
    else:
        await server.call(
            "leg_agent_local",
            id=leg,
            voice=VOICE,
            voice_provider="elevenlabs",
            transcript_provider="deepgram",
            greeting="Hello.",
            model=fault,
        )
    await trio.sleep(life_s)
    with suppress(NotFound, Conflict, NotAvailable):  # it has ended before, or has not begun yet
        await server.call("leg_agent_message", id=leg, message="x", respond=True)
        await trio.sleep(life_s)
    with suppress(NotFound):
        await server.call("leg_agent_stop", id=leg)


async def _ended(events: Events, count: int) -> None:
    """Wait until so many agents have said that they are gone, each once."""
    seen = 0
    with trio.fail_after(ENDS_WITHIN_S):
        while seen < count:
            seen += (await events.get()).as_dict()["type"] == "agent.disconnected"


def _held(server: Server, partners: Partners) -> Counter[str]:
    """Return tasks and open files; connections that are kept for whoever needs one next are nobody's."""
    held = Counter(task_names()) + open_files(os.getpid())
    kept = (value for name, _, value, _ in server.engine.web.readings() if name == "web_connections_kept")
    held[connections_to(partners.port)] -= round(next(kept))
    return held


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_becomes_of_their_partners_agents_leave_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    everywhere = Placement(frozenset(os.sched_getaffinity(0)), realtime=False)
    with running_partners(everywhere) as partners:
        config = Config.from_env(_settings(partners, tmp_path))
        async with open_server(config) as server:
            with server.events() as events:
                async with open_phone(500) as phone:
                    leg = await call_in(server, phone, events)
                    for kind, fault in KINDS:  # what is made once, at the first need, is made
                        await _come_and_go(server, partners, leg, kind, fault, 0.05)
                        await _ended(events, 1)
                    await trio.sleep(0.5)
                    before = _held(server, partners)
                    for _ in range(SESSIONS):
                        kind, fault = chance.choice(KINDS)
                        life_s = chance.choice([0.0, 0.001, 0.02, 0.1, 0.3])
                        await _come_and_go(server, partners, leg, kind, fault, life_s)
                        await _ended(events, 1)
                    left = Counter[str]()
                    with trio.move_on_after(10):
                        while left := _held(server, partners) - before:  # noqa: ASYNC110 - nothing tells of it
                            await trio.sleep(0.1)
                    assert not left
