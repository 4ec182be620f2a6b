"""The call history of a running server."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import trio

from tests.support.history import history_config
from tests.support.phone import open_phone
from tests.support.world import call_in
from vb.config import Config
from vb.events.history import CallRecorded
from vb.history.edge import get_call, list_entries
from vb.server import Server, open_server

pytestmark = pytest.mark.integration


def with_history(config: Config, folder: Path, **more: object) -> Config:
    return config.model_copy(update={"history": history_config(folder, **more)})


async def one_call(server: Server, **params: object) -> str:
    """Hold a short call and return its leg's id once it is recorded."""
    async with open_phone(500) as phone:
        with server.events() as events:
            leg_id = await call_in(server, phone, events, "r")
            await server.call("delete_leg", id=leg_id)
            with trio.fail_after(20):
                async for published in events:
                    if isinstance(published.event, CallRecorded):
                        assert published.event.call_id == leg_id
                        return leg_id
    raise AssertionError("unreachable")


async def test_a_call_is_in_the_history_with_its_sip_messages_once_that_is_told(
    config: Config, tmp_path: Path
) -> None:
    async with open_server(with_history(config, tmp_path / "history"), http=False) as server:
        leg_id = await one_call(server)
        history = server.engine.history
        assert history is not None
        call = await history.read(lambda store: get_call(store, leg_id))
        entries = (await history.read(lambda store: list_entries(store, leg_id))).results
    assert (call.leg.from_, call.leg.direction, call.end_reason) == ("tester", "inbound", "agent_hangup")
    assert [stay.room_id for stay in call.leg.rooms] == ["r"]
    lines = [entry.sip.text.split("\r\n")[0].split(" sip:")[0] for entry in entries if entry.sip is not None]
    assert lines[:2] == ["INVITE", "SIP/2.0 100 Trying"]
    assert lines[-2:] == ["BYE", "SIP/2.0 200 OK"]
    events = [entry.type for entry in entries if entry.sip is None]
    assert (events[0], events[-1]) == ("leg.ringing", "leg.disconnected")


async def test_sip_messages_are_not_kept_when_the_setting_says_so(config: Config, tmp_path: Path) -> None:
    async with open_server(with_history(config, tmp_path / "history", sip="off"), http=False) as server:
        leg_id = await one_call(server)
        history = server.engine.history
        assert history is not None
        entries = (await history.read(lambda store: list_entries(store, leg_id))).results
    assert all(entry.sip is None for entry in entries)


async def test_a_history_that_cannot_be_written_is_told_and_disturbs_no_call(
    config: Config, tmp_path: Path
) -> None:
    (tmp_path / "history" / "calls.db").mkdir(parents=True)
    async with open_server(with_history(config, tmp_path / "history")) as server, open_phone(500) as phone:
        with server.events() as events:
            leg_id = await call_in(server, phone, events, "r")
            await server.call("delete_leg", id=leg_id)
        history = server.engine.history
        assert history is not None
        with trio.fail_after(20):
            while not history.keeper.status.queued:
                await trio.lowlevel.checkpoint()
        async with httpx.AsyncClient(trust_env=False) as client:
            ready = (await client.get(f"{server.url}/readyz")).json()
            metrics = (await client.get(f"{server.url}/metrics")).text
    assert ready["status"] == "ready"
    assert ready["problems"] == ["call history: the database does not take calls"]
    assert 'voiceblender_history_failures{part="database"}' in metrics


async def test_a_server_without_a_folder_has_no_history(config: Config) -> None:
    async with open_server(config, http=False) as server:
        assert server.engine.history is None
