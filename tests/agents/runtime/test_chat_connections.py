"""The connection of an answer serves the next one, where the model's server lets it."""

from __future__ import annotations

from contextlib import aclosing

import pytest
import trio
from pydantic import SecretStr

from tests.support.web import local_web
from tests.web.tasks.servers import Peer, open_server
from vb.agents.runtime.brain import Answer, Finished, Line, Words
from vb.agents.runtime.chat import ChatSettings
from vb.agents.tasks.chat import ChatModel
from vb.providers.failure import ProviderFailed

pytestmark = pytest.mark.integration

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
BODY = b'data: {"choices":[{"delta":{"content":"Hello."}}]}\n\ndata: [DONE]\n\n'
CHUNK = b"%x\r\n%s\r\n" % (len(BODY), BODY)


async def ask(model: ChatModel) -> list[Answer]:
    async with aclosing(model.answer([Line("user", "hi")], ())) as answers:
        return [part async for part in answers]


@pytest.mark.parametrize(("last", "connections"), [(b"0\r\n\r\n", 1), (b"", 3)])
async def test_an_answer_ends_with_the_models_last_word_and_its_connection_is_used_again(
    last: bytes, connections: int
) -> None:
    async def handler(peer: Peer) -> None:
        while await peer.head():
            await peer.stream.send_all(HEAD + CHUNK)
            if last:
                await trio.lowlevel.checkpoint()
                await peer.stream.send_all(last)

    async with open_server(handler) as server, aclosing(local_web(["127.0.0.1"])) as web:
        url = f"http://127.0.0.1:{server.port}/v1"
        model = ChatModel(web, ChatSettings(url, "m", SecretStr("")))
        with trio.fail_after(5):
            for _ in range(3):
                assert await ask(model) == [Words("Hello."), Finished()]
        assert server.connections == connections


async def test_a_refusal_costs_no_connection() -> None:
    async def handler(peer: Peer) -> None:
        while await peer.head():
            await peer.stream.send_all(b"HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\nsome")

    async with open_server(handler) as server, aclosing(local_web(["127.0.0.1"])) as web:
        model = ChatModel(web, ChatSettings(f"http://127.0.0.1:{server.port}/v1", "m"))
        for _ in range(3):
            with pytest.raises(ProviderFailed, match="status 500"):
                await ask(model)
        assert server.connections == 1
