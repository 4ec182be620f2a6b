"""Which of several addresses is connected to; the attempts are made here, so time can jump."""

from __future__ import annotations

import ssl

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from vb.web.errors import CannotConnect
from vb.web.place import Place
from vb.web.tasks import dial as dial_module
from vb.web.tasks.dial import CONNECT_TIMEOUT_S, Dialer


class Network:
    """Answers an address after so many seconds; without an entry never, below zero by a refusal."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **after_s: float) -> None:
        self.tried: list[tuple[str, float]] = []
        self.connected: list[str] = []
        self._after_s = after_s
        monkeypatch.setattr(dial_module, "_open", self._open)

    async def _open(self, place: Place, address: str, tls: ssl.SSLContext | None) -> trio.abc.Stream:
        self.tried.append((address, trio.current_time()))
        after_s = self._after_s.get(address, 1e9)
        await trio.sleep(abs(after_s))
        if after_s < 0:
            raise OSError("refused")
        self.connected.append(address)
        return memory_stream_pair()[0]


async def connect(*addresses: str) -> trio.abc.Stream:
    return await Dialer()(Place(False, "host.example", 80, addresses))


async def test_a_quick_address_is_the_only_one_tried(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    network = Network(monkeypatch, a=0.1, b=0.1)
    await connect("a", "b")
    assert network.tried == [("a", 0)]


async def test_the_next_address_is_tried_at_once_when_one_refuses(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    network = Network(monkeypatch, a=-0.01, b=0.1)
    await connect("a", "b")
    assert (network.connected, network.tried[1]) == (["b"], ("b", 0.01))


async def test_an_address_that_is_silent_holds_up_the_next_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    network = Network(monkeypatch, b=0.1)
    await connect("a", "b")
    assert (network.connected, network.tried) == (["b"], [("a", 0), ("b", 0.25)])
    assert trio.current_time() == 0.35


async def test_a_slow_address_still_counts_when_the_others_refuse(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    network = Network(monkeypatch, a=3.0, b=-0.1)
    await connect("a", "b")
    assert network.connected == ["a"]


async def test_four_addresses_are_tried_within_five_seconds(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    network = Network(monkeypatch)
    with pytest.raises(CannotConnect):
        await connect("a", "b", "c", "d", "e")
    assert [address for address, _ in network.tried] == ["a", "b", "c", "d"]
    assert trio.current_time() == CONNECT_TIMEOUT_S


async def test_no_address_left_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    Network(monkeypatch, a=-0.1, b=-0.1)
    with pytest.raises(CannotConnect):
        await connect("a", "b")
    assert trio.current_time() == pytest.approx(0.2)


async def test_the_only_address_is_told_of_when_it_refuses_and_given_up_when_it_is_silent(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    Network(monkeypatch, a=-0.1)
    with pytest.raises(CannotConnect):
        await connect("a")
    assert trio.current_time() == pytest.approx(0.1)
    with pytest.raises(CannotConnect):
        await connect("b")
    assert trio.current_time() == pytest.approx(0.1 + CONNECT_TIMEOUT_S)


async def test_a_connection_that_comes_at_the_moment_of_a_cancellation_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = memory_stream_pair()

    async def opened(place: Place, address: str, tls: ssl.SSLContext | None) -> trio.abc.Stream:
        scope.cancel()
        return ours

    monkeypatch.setattr(dial_module, "_open", opened)
    with trio.CancelScope() as scope:
        await connect("a")
    assert scope.cancelled_caught
    assert await theirs.receive_some() == b""
