from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from bench.agents import first_voiced_ms, last_voiced_ms
from bench.cases import AgentsCase, MediaCase
from bench.delay import Arrivals
from bench.figures import Spread
from bench.generator import LoadLateness
from bench.host import Placement
from bench.outcome import AgentFigures, Outcome, Window
from bench.partners import Partners, running_partners
from bench.rows import missed_bars
from bench.served import BINARY, TEXT
from bench.tones import SILENCE, encode_ulaw
from bench.websocket import WebSocket, masked_frame, take_frame

LOUD = encode_ulaw(np.full(160, 8000.0))
MS = 1_000_000


def heard(*voiced: int, packets: int = 50) -> Arrivals:
    """A packet every 20 ms, some of them with speech."""
    payloads = np.full((packets, 160), SILENCE, np.uint8)
    payloads[list(voiced)] = LOUD
    return Arrivals(np.arange(packets) * 20 * MS, np.arange(packets, dtype=np.uint32) * 160, payloads)


def test_the_first_and_the_last_packet_with_speech_after_a_moment_are_found() -> None:
    leg = heard(3, 4, 5, 20)
    assert first_voiced_ms(leg, 90 * MS, 500 * MS) == 10
    assert first_voiced_ms(leg, 110 * MS, 100 * MS) is None
    assert last_voiced_ms(leg, 70 * MS, 200 * MS) == 30
    assert last_voiced_ms(leg, 110 * MS, 200 * MS) == 0


def test_what_was_not_captured_or_not_heard_before_is_not_judged() -> None:
    leg = heard(20, packets=30)
    assert last_voiced_ms(leg, 500 * MS, 200 * MS) is None
    assert last_voiced_ms(leg, 100 * MS, 200 * MS, was_heard=True) is None
    assert last_voiced_ms(leg, 420 * MS, 100 * MS, was_heard=True) == 0


def test_bars_bind_where_they_are_promises() -> None:
    window = Window(1.0, 0.0, LoadLateness(0, 0, 0, 0, 0), Spread(1, 1, 1, 1), None, 0.0)
    slow = Outcome(AgentFigures(window, None, Spread(20, 50, 60, 70), 100.0, 1.0), ())
    (told,) = missed_bars(AgentsCase("agents", 1, 20), [slow])
    assert "50.00, the bar is 40" in told
    assert missed_bars(MediaCase("pairs", 1), [slow]) == []


@pytest.fixture(scope="module")
def partners() -> Iterator[Partners]:
    with running_partners(Placement(frozenset(range(8)), realtime=False)) as running:
        yield running


@pytest.mark.integration
def test_a_partner_speaks_ahead_once_it_is_set_up(partners: Partners) -> None:
    port = int(partners.ws_url.rpartition(":")[2])
    sock, data = WebSocket("127.0.0.1", port, "/v1/agent/converse").detach()
    with closing(sock):
        settings = json.dumps({"type": "Settings", "tags": ["0"]}).encode()
        sock.sendall(masked_frame(TEXT, settings, b"abcd"))
        texts, audio = [], 0
        while audio < 30_000:
            data += sock.recv(65536)
            while (found := take_frame(data)) is not None:
                if found[0] == TEXT:
                    texts.append(json.loads(found[1])["type"])
                elif found[0] == BINARY:
                    audio += len(found[1])
        assert texts == ["Welcome", "SettingsApplied"]
        assert partners.counted().open == 1


@pytest.mark.integration
def test_a_partner_may_refuse(partners: Partners) -> None:
    port = int(partners.ws_url.rpartition(":")[2])
    with closing(socket.create_connection(("127.0.0.1", port))) as sock:
        sock.sendall(b"GET /bot?leg=1&fault=refuse HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 403")
