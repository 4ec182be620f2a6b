"""Every session description is read once, however many look at it."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.phone import open_phone
from tests.support.world import call_in
from vb.config import Config
from vb.sdp import parser
from vb.server import open_server

pytestmark = pytest.mark.integration


async def test_an_offer_is_read_once_from_its_invite_to_its_answer(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[bytes] = Counter()
    sections = parser._sections

    def count(data: bytes) -> list[list[str]]:
        read[data] += 1
        return sections(data)

    monkeypatch.setattr(parser, "_sections", count)
    async with open_server(config) as server, open_phone(600) as phone:
        with server.events() as events:
            await call_in(server, phone, events, "r")
    assert len(read) == 2  # the phone's offer, which the server reads, and the answer, which the phone reads
    assert set(read.values()) == {1}
