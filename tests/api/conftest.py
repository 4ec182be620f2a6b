from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.api.harness import SmallEngine, use_small_registry
from tests.api.peer import Connect, Peer
from vb.api import connection
from vb.api.app import Application, create_app


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> SmallEngine:
    use_small_registry(monkeypatch)
    return SmallEngine()


@pytest.fixture
def app(engine: SmallEngine) -> Application:
    return create_app(engine)


@pytest.fixture
async def connect(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connect]:
    monkeypatch.setattr(connection, "LINGER_S", 0.1)
    async with AsyncExitStack() as stack:

        async def open_peer(url: str) -> Peer:
            peer = await Peer.connect(url)
            stack.push_async_callback(peer.aclose)
            return peer

        yield open_peer
