"""Documents that anybody may ask for, without their being copied for everybody who does not read."""

from __future__ import annotations

import pytest

from tests.api.harness import ask
from vb.api.app import Application
from vb.api.pieces import PIECE_BYTES, Pieces


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
async def test_pieces_are_the_whole(size: int) -> None:
    content = bytes(number % 251 for number in range(size))
    async with Pieces(content) as body:
        pieces = [piece async for piece in body]
    assert b"".join(pieces) == content
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/asyncapi.json", "/metrics"])
async def test_a_document_goes_out_in_pieces_and_tells_its_length(app: Application, path: str) -> None:
    reply = await ask(app, "GET", path)
    assert reply.status == 200
    assert reply.headers["content-length"] == str(len(reply.body))
    assert len(reply.body) > PIECE_BYTES or path != "/docs"
    assert max(map(len, reply.pieces)) <= PIECE_BYTES
