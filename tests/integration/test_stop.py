"""The end of a stop: last words of calls reach VSI clients and webhooks, now or after the next start."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.api.peer import Peer
from tests.support.engine import sip_of
from tests.support.phone import open_phone
from tests.support.world import call_in
from vb.config import Config
from vb.dns_records import Answer, Kind
from vb.errors import ConfigError, Unavailable, VbError
from vb.names import NameLookup
from vb.server import Server, open_server

pytestmark = pytest.mark.integration

STOP_TIMEOUT_S = 1.0
LAST_WORDS = ["recording.finished", "leg.disconnected"]


class Receiver:
    """Takes webhooks on loopback; one that is deaf reads nothing."""

    def __init__(self) -> None:
        self.deaf = False
        self.got: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.url = ""
        self._arrived = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            if self.deaf:
                await trio.sleep_forever()
            data = b""
            while b"\r\n\r\n" not in data or not data.endswith(b"}"):
                data += await stream.receive_some()
            head, _, body = data.partition(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            self.ids += [line[12:].strip().decode() for line in lines if line.startswith(b"x-event-id:")]
            self.got.append(json.loads(body))
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self._arrived.set()
            self._arrived = trio.Event()

    async def wait_for(self, count: int) -> None:
        with trio.fail_after(30):
            while len(self.got) < count:
                await self._arrived.wait()

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.got]


@pytest.fixture
async def receiver(nursery: trio.Nursery) -> Receiver:
    receiver = Receiver()
    listeners = await nursery.start(trio.serve_tcp, receiver.serve, 0)
    receiver.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/hook"
    return receiver


@pytest.fixture
def spooled(config: Config, receiver: Receiver, tmp_path: Path) -> Config:
    """Settings of a server with a hook, a spool and little time to stop."""
    hook = {"url": receiver.url, "spool_dir": str(tmp_path / "spool")}
    return config.model_copy(
        update={
            "webhook": config.webhook.model_copy(update=hook),
            "server": config.server.model_copy(update={"stop_timeout_s": STOP_TIMEOUT_S}),
        }
    )


@asynccontextmanager
async def hanging_bucket() -> AsyncIterator[dict[str, str]]:
    """A bucket that takes connections and says nothing; gives what a request says of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield {
            "storage": "s3",
            "s3_bucket": "recordings",
            "s3_endpoint": f"http://127.0.0.1:{listener.getsockname()[1]}",
            "s3_access_key": "key",
            "s3_secret_key": "secret",
        }


async def listen(url: str, heard: list[str], *, task_status: trio.TaskStatus[None]) -> None:
    """Note the types of a VSI client's events, and at last its close code."""
    peer = await Peer.connect(url)
    await peer.open_vsi()
    task_status.started()
    while True:
        kind, data = await peer.frame()
        if kind == 8:
            heard.append(str(int.from_bytes(data[:2], "big")))
            await peer.aclose()
            return
        heard.append(json.loads(data)["type"])


async def stop_while_recording(config: Config, receiver: Receiver, *, deaf: bool) -> list[str]:
    """Stop a server whose call is recorded into a bucket that hangs; returns what a VSI client heard."""
    heard: list[str] = []
    no_check = config.s3.model_copy(update={"request_preflight_timeout_s": 0.0})
    async with (
        hanging_bucket() as bucket,
        open_phone(600) as phone,
        trio.open_nursery() as nursery,
        open_server(config.model_copy(update={"s3": no_check})) as server,
    ):
        await nursery.start(partial(listen, server.url or "", heard))
        with server.events() as events:
            leg = await call_in(server, phone, events)
            await server.call("leg_record_start", id=leg, **bucket)
            await phone.hear(10)
        await receiver.wait_for(3)
        receiver.deaf = deaf
    return heard


async def test_the_last_words_of_a_call_come_before_the_close_and_before_the_last_webhook(
    spooled: Config, receiver: Receiver
) -> None:
    began = trio.current_time()
    heard = await stop_while_recording(spooled, receiver, deaf=False)
    assert heard[-3:] == [*LAST_WORDS, "1001"]
    assert receiver.types[-2:] == LAST_WORDS
    assert trio.current_time() - began < 10
    assert os.listdir(spooled.webhook.spool_dir) == []


async def test_last_words_that_the_hook_did_not_take_go_out_after_the_next_start(
    spooled: Config, receiver: Receiver
) -> None:
    heard = await stop_while_recording(spooled, receiver, deaf=True)
    assert heard[-3:] == [*LAST_WORDS, "1001"]
    assert receiver.types == heard[:3]
    receiver.deaf = False
    async with open_server(spooled):
        await receiver.wait_for(5)
    assert receiver.types[3:] == LAST_WORDS
    assert receiver.ids == [event["event_id"] for event in receiver.got]


async def test_the_recording_of_a_room_is_told_before_the_end_of_its_last_leg(
    spooled: Config, receiver: Receiver
) -> None:
    async with open_phone(600) as phone, open_server(spooled) as server:
        with server.events() as events:
            await call_in(server, phone, events, "r")
        await server.call("room_record_start", id="r")
        await phone.hear(10)
    assert receiver.types[-2:] == LAST_WORDS
    assert receiver.got[-2]["room_id"] == "r"


async def test_a_cancelled_server_leaves_its_last_words_to_the_next_start(
    spooled: Config, receiver: Receiver
) -> None:
    receiver.deaf = True
    async with open_phone(600) as phone:
        with trio.CancelScope() as scope:
            async with open_server(spooled) as server:
                with server.events() as events:
                    await call_in(server, phone, events)
                scope.cancel()
                await trio.lowlevel.checkpoint()
    receiver.deaf = False
    async with open_server(spooled):
        await receiver.wait_for(3)
    assert receiver.types == ["leg.ringing", "leg.connected", "leg.disconnected"]


async def test_a_request_that_never_ends_does_not_make_the_stop_longer(
    spooled: Config, receiver: Receiver
) -> None:
    async with open_server(spooled) as server:
        peer = await Peer.connect(server.url or "")
        await peer.send(b"POST /v1/rooms HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n")
        await peer.send(b"Content-Length: 100\r\n\r\n{")
        assert (await peer.response())[0] == 100
        began = trio.current_time()
    assert trio.current_time() - began < 2 * STOP_TIMEOUT_S
    await peer.aclose()


async def test_more_events_than_a_queue_holds_survive_two_stops(spooled: Config, receiver: Receiver) -> None:
    receiver.deaf = True
    wanted = [f"{run}-{number}" for run in range(2) for number in range(600)]
    for run in range(2):
        async with open_server(spooled) as server:
            for number in range(600):
                await server.call("create_room", id=f"{run}-{number}")
    receiver.deaf = False
    async with open_server(spooled):
        await receiver.wait_for(len(wanted))
    assert [event["room_id"] for event in receiver.got] == wanted


async def test_damage_in_the_spool_does_not_keep_the_server_from_starting(
    spooled: Config, receiver: Receiver
) -> None:
    folder = Path(spooled.webhook.spool_dir)
    (folder / "webhooks-folder.jsonl").mkdir(parents=True)
    entry = {"id": "good", "type": "room.created", "body": '{"type":"room.created"}'}
    bad = entry | {"url": 5, "secret": 5}
    lines = ["[" * 5000, json.dumps(bad), json.dumps(entry)]
    (folder / "webhooks-x.jsonl").write_text("\n".join(lines) + "\n")
    async with open_server(spooled) as server:
        await receiver.wait_for(1)
        text = server.engine.metrics.render().decode()
    assert receiver.ids == ["good"]
    assert 'voiceblender_webhook_spool_failures{reason="damaged"} 3.0' in text


async def test_a_spool_folder_that_cannot_be_used_ends_the_start_with_the_name_of_the_setting(
    spooled: Config, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    hook = spooled.webhook.model_copy(update={"spool_dir": str(tmp_path / "file")})
    with pytest.raises(ConfigError, match=r"VB_SPOOL_DIR: .*/file cannot be used: File exists"):
        async with open_server(spooled.model_copy(update={"webhook": hook})):
            raise AssertionError


async def test_a_call_whose_name_is_found_after_the_stop_began_is_not_placed(config: Config) -> None:
    found = trio.Event()

    async def look_up(name: str, kind: Kind, within_s: float) -> Answer:
        await found.wait()
        return Answer(("127.0.0.1",) if kind == "address" else ())

    async with open_phone(500) as phone, trio.open_nursery() as nursery:
        async with open_server(config) as server:
            sip = sip_of(server.engine)
            sip.names = NameLookup("sip", lookup=look_up)
            assert sip._transport is not None
            sip._transport.resolver.names = sip.names
            outcome = Outcome()
            uri = f"sip:bob@slow.example:{phone.port}"
            nursery.start_soon(outcome.of, partial(server.call, "create_leg", type="sip", to=uri))
            while not server.engine.legs.running:
                await trio.lowlevel.checkpoint()
            nursery.start_soon(_release_once_stopping, server, found)
        assert isinstance(outcome.error, Unavailable)
        assert not phone.arrived.is_set()


class Outcome:
    """What came of a call."""

    error: VbError | None = None

    async def of(self, call: Callable[[], Awaitable[object]]) -> None:
        try:
            await call()
        except VbError as error:
            self.error = error


async def _release_once_stopping(server: Server, found: trio.Event) -> None:
    while not server.engine.stopping:
        await trio.lowlevel.checkpoint()
    found.set()
