from __future__ import annotations

from collections.abc import Sequence

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.webrtc.network import seeded
from tests.webrtc.test_reflexive import MAPPED, answer
from vb.names import Resolve
from vb.rtcleg.candidates import LocalCandidates
from vb.rtcleg.gathering import LIMIT_S, Gathering
from vb.rtcleg.ice_servers import IceServers
from vb.webrtc.stun import Address

BASE = ("192.0.2.1", 4000)
SERVER = ("198.51.100.1", 3478)


async def resolve_nothing(host: str, port: int) -> Sequence[str]:
    await trio.lowlevel.checkpoint()
    raise OSError("no network")


async def resolve_never(host: str, port: int) -> Sequence[str]:
    await trio.sleep_forever()
    raise AssertionError


async def resolve_both(host: str, port: int) -> Sequence[str]:
    await trio.lowlevel.checkpoint()
    return ("2001:db8::1", SERVER[0])


class Socket:
    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Address]] = []

    def send(self, data: bytes, destination: Address) -> None:
        self.sent.append((data, destination))


def gathering(resolve: Resolve, urls: list[str], socket: Socket) -> tuple[Gathering, LocalCandidates]:
    candidates = LocalCandidates("0", 0)
    found = Gathering(BASE, BASE, candidates, IceServers.parse(urls), resolve, seeded(1), socket.send)
    return found, candidates


async def test_without_servers_all_is_found_at_once() -> None:
    _, candidates = gathering(resolve_nothing, [], Socket())
    assert candidates.done


async def test_a_name_without_an_address_ends_the_search(nursery: trio.Nursery) -> None:
    found, candidates = gathering(resolve_nothing, ["stun:a", "turn:u:p@a"], Socket())
    done = [candidates.done]
    nursery.start_soon(found.run)
    await wait_all_tasks_blocked()
    assert [*done, candidates.done] == [False, True]
    assert candidates.found == []


async def test_a_slow_name_ends_the_search_in_time(nursery: trio.Nursery, mock_clock: MockClock) -> None:
    found, candidates = gathering(resolve_never, ["stun:a"], Socket())
    nursery.start_soon(found.run)
    await wait_all_tasks_blocked()
    mock_clock.jump(LIMIT_S - 0.1)
    await wait_all_tasks_blocked()
    before = candidates.done
    mock_clock.jump(0.2)
    await wait_all_tasks_blocked()
    assert (before, candidates.done) == (False, True)


async def test_an_answer_becomes_a_candidate_of_the_same_socket(nursery: trio.Nursery) -> None:
    socket = Socket()
    found, candidates = gathering(resolve_both, ["stun:a"], socket)
    nursery.start_soon(found.run)
    await wait_all_tasks_blocked()
    ((request, destination),) = socket.sent
    assert destination == SERVER
    assert not found.receive(request, ("198.51.100.9", 3478))
    assert found.receive(answer(request), SERVER)
    await wait_all_tasks_blocked()
    (candidate,) = candidates.found
    assert (candidate.type, candidate.address, candidate.related) == ("srflx", MAPPED, BASE)
    assert candidates.done


async def test_a_silent_server_is_asked_again_and_given_up(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    socket = Socket()
    found, candidates = gathering(resolve_both, ["stun:a"], socket)
    nursery.start_soon(found.run)
    await wait_all_tasks_blocked()
    for _ in range(16):
        mock_clock.jump(0.5)
        await wait_all_tasks_blocked()
    assert len(socket.sent) == 4
    assert candidates.done
