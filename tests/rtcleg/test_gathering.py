from __future__ import annotations

import socket
from collections.abc import Sequence

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.webrtc.network import seeded
from tests.webrtc.test_reflexive import MAPPED, answer
from vb.names import Resolve
from vb.rtcleg.candidates import LocalCandidates
from vb.rtcleg.gathering import LIMIT_S, Gathering
from vb.rtcleg.ice_servers import IceServers
from vb.rtcleg.second_family import open_second
from vb.rtp.ports import PortPool
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


def gathering(resolve: Resolve, urls: list[str], sock: Socket) -> tuple[Gathering, LocalCandidates]:
    candidates = LocalCandidates("0", 0)
    found = Gathering(BASE, BASE, candidates, IceServers.parse(urls), resolve, seeded(1), sock.send)
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
    sock = Socket()
    found, candidates = gathering(resolve_both, ["stun:a"], sock)
    nursery.start_soon(found.run)
    await wait_all_tasks_blocked()
    ((request, destination),) = sock.sent
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
    sock = Socket()
    found, candidates = gathering(resolve_both, ["stun:a"], sock)
    nursery.start_soon(found.run)
    await wait_all_tasks_blocked()
    for _ in range(16):
        mock_clock.jump(0.5)
        await wait_all_tasks_blocked()
    assert len(sock.sent) == 4
    assert candidates.done


async def test_the_socket_of_the_other_family_is_seen_by_servers_too(nursery: trio.Nursery) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.bind(("::1", 0))
        server.setblocking(False)
        address = server.getsockname()[:2]

        async def resolve(host: str, port: int) -> Sequence[str]:
            await trio.lowlevel.checkpoint()
            return ("::1",)

        candidates = LocalCandidates("0", 0)
        servers = IceServers.parse([f"stun:a:{address[1]}"])
        with open_second(PortPool(0, 0), "::1", "2001:db8::7", ("127.0.0.1", 9)) as second:
            found = Gathering(BASE, BASE, candidates, servers, resolve, seeded(1), Socket().send, second)
            nursery.start_soon(found.run)
            with trio.fail_after(5):
                await trio.lowlevel.wait_readable(server)
                request, source = server.recvfrom(2048)
                server.sendto(answer(request), source)
                while not candidates.done:  # noqa: ASYNC110 - nobody tells when
                    await trio.sleep(0.01)
            (candidate,) = candidates.found
            assert (candidate.type, candidate.address) == ("srflx", MAPPED)
            assert candidate.related == second.base == ("2001:db8::7", source[1])
            nursery.cancel_scope.cancel()
