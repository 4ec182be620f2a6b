"""A leg's slow task in virtual time."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.mixer.support import World, agreed
from tests.support.ids import SequentialIds
from vb.mixer.port import RtpPort
from vb.rtp.digits import EventPacket
from vb.rtp.media_port import RtcpDatagram
from vb.rtp.ports import PortPool
from vb.rtp.rtcp import parse_rtcp
from vb.rtp.tasks import RtpEndpoint, RtpKeeper, RtpService, RtpTiming, bind_endpoint
from vb.sdp.bandwidth import RtcpUse

HOST = "127.0.0.1"


class Leg:
    def __init__(self, timing: RtpTiming | None) -> None:
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer.bind((HOST, 0))
        self.peer.setblocking(False)
        self.endpoint: RtpEndpoint = bind_endpoint(PortPool(0, 0), HOST)
        self.world = World()
        self.world.tick_at = trio.current_time()
        self.world.plane.set_time(trio.current_time())
        self.port: RtpPort = self.world.phone(configured=False).port
        self.digits: list[str] = []
        self.lasted_s: list[float] = []
        self.faults: list[Exception] = []
        self.timing = timing
        self.ended_at = -1.0

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        keeper, silent = RtpKeeper(), trio.Event()
        service = RtpService(
            self.endpoint,
            self.port,
            cname="leg@vb",
            ids=SequentialIds(),
            on_digit=self.take_digit,
            timing=self.timing or RtpTiming(),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.run)
            kept = keeper.serve(service, on_silence=silent.set, on_fault=self.faults.append)
            task_status.started()
            try:
                await silent.wait()
            finally:
                kept.stop()
                service.goodbye(trio.current_time())
            nursery.cancel_scope.cancel()
        self.ended_at = trio.current_time()

    def take_digit(self, digit: str, lasted_s: float) -> None:
        self.digits.append(digit)
        self.lasted_s.append(round(lasted_s, 3))

    def received(self) -> list[bytes]:
        packets = []
        while True:
            try:
                packets.append(self.peer.recv(2048))
            except BlockingIOError:
                return packets

    def close(self) -> None:
        self.peer.close()
        self.endpoint.close()


@asynccontextmanager
async def leg(timing: RtpTiming | None = None, **settings: bool | str) -> AsyncIterator[Leg]:
    subject = Leg(timing)
    number = subject.peer.getsockname()[1]
    description = agreed(number - 1, host=HOST)
    if settings.get("direction") == "sendonly":
        description = agreed(number - 1, host=HOST, direction="sendonly")
    if settings.get("direction") == "recvonly":
        description = agreed(number, host=HOST, direction="recvonly", remote_held=True)
    rtcp_use = settings.get("rtcp_use")
    if rtcp_use is not None:
        use: RtcpUse = "never" if rtcp_use == "never" else "sending"
        description = replace(description, rtcp_use=use, rtcp_mux=settings.get("rtcp_mux") is True)
    subject.port.configure(description)
    subject.port.sending = True
    async with trio.open_nursery() as nursery:
        await nursery.start(subject.run)
        yield subject
        nursery.cancel_scope.cancel()
    subject.close()
    assert subject.faults == []


async def test_reports_go_out_about_every_five_seconds(autojump_clock: MockClock) -> None:
    async with leg(RtpTiming(timeout_s=0)) as subject:
        await trio.sleep(60)
        reports = [parse_rtcp(data) for data in subject.received()]
        assert 8 <= len(reports) <= 25
        assert all(report is not None for report in reports)


async def test_digits_are_told_once_in_order(autojump_clock: MockClock) -> None:
    async with leg() as subject:
        sequence = 0
        for timestamp, event in ((0, 1), (3000, 2)):
            for flags in (0, 0x80, 0x80):
                payload = bytes((event, flags, 3, 0x20))
                sequence += 1
                subject.port.events.append(EventPacket(payload, timestamp, trio.current_time(), sequence))
                subject.port.wake()
        await wait_all_tasks_blocked()
        assert subject.digits == ["1", "2"]
        assert subject.lasted_s == [0.1, 0.1]


async def test_a_digit_whose_end_is_lost_is_told_after_its_time_out(autojump_clock: MockClock) -> None:
    async with leg() as subject:
        subject.port.events.append(EventPacket(bytes((7, 0, 3, 0x20)), 0, trio.current_time(), 1))
        subject.port.wake()
        await trio.sleep(0.1)
        assert subject.digits == []
        await trio.sleep(0.1)
        assert subject.digits == ["7"]


async def test_silence_ends_the_task_once_the_leg_is_supervised(autojump_clock: MockClock) -> None:
    async with leg() as subject:
        await trio.sleep(100)
        assert subject.ended_at == -1
        subject.port.supervised = True
        subject.port.wake()
        since = trio.current_time()
        await trio.sleep(29.9)
        assert subject.ended_at == -1
        await trio.sleep(0.2)
        assert abs(subject.ended_at - since - 30) < 0.1


async def test_a_peer_that_may_not_send_may_be_silent(autojump_clock: MockClock) -> None:
    async with leg(direction="sendonly") as subject:
        subject.port.supervised = True
        subject.port.wake()
        await trio.sleep(200)
        assert subject.ended_at == -1


async def test_the_limit_can_be_turned_off(autojump_clock: MockClock) -> None:
    async with leg(RtpTiming(timeout_s=0)) as subject:
        subject.port.supervised = True
        subject.port.wake()
        await trio.sleep(1000)
        assert subject.ended_at == -1


async def test_a_way_is_kept_open_while_we_may_not_send(autojump_clock: MockClock) -> None:
    async with leg(RtpTiming(timeout_s=0), direction="recvonly") as subject:
        await trio.sleep(46)
        alive = [data for data in subject.received() if len(data) == 12]
        assert len(alive) == 3
        assert {data[8:12] for data in alive} == {subject.port.ssrc.to_bytes(4, "big")}


async def test_rtcp_from_the_peer_is_taken_and_a_goodbye_ends_nothing(autojump_clock: MockClock) -> None:
    async with leg(RtpTiming(timeout_s=0)) as subject:
        goodbye = bytes((0x81, 203, 0, 1, 0, 0, 0, 9))
        subject.port.rtcp.append(RtcpDatagram(goodbye, (HOST, 5), trio.current_time()))
        subject.port.wake()
        await trio.sleep(1)
        assert not subject.port.rtcp
        assert subject.ended_at == -1


def hear_rtcp_from(subject: Leg, stranger: socket.socket) -> None:
    report = bytes((0x80, 201, 0, 1, 0, 0, 0, 9))
    subject.port.rtcp.append(RtcpDatagram(report, stranger.getsockname(), trio.current_time()))
    subject.port.wake()


async def test_reports_of_a_peer_where_its_sdp_says_are_not_led_away(autojump_clock: MockClock) -> None:
    async with leg(RtpTiming(timeout_s=0)) as subject:
        stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        stranger.bind((HOST, 0))
        stranger.setblocking(False)
        subject.port.latch.locked = (HOST, subject.peer.getsockname()[1] - 1)
        hear_rtcp_from(subject, stranger)
        await trio.sleep(20)
        assert subject.received()
        with pytest.raises(BlockingIOError):
            stranger.recv(2048)
        stranger.close()


async def test_reports_follow_a_peer_that_sends_from_elsewhere(autojump_clock: MockClock) -> None:
    async with leg(RtpTiming(timeout_s=0)) as subject:
        behind_nat = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        behind_nat.bind((HOST, 0))
        behind_nat.setblocking(False)
        subject.port.latch.locked = (HOST, 9)
        hear_rtcp_from(subject, behind_nat)
        await trio.sleep(20)
        assert parse_rtcp(behind_nat.recv(2048)) is not None
        behind_nat.close()


async def test_reports_do_not_go_on_to_who_reported_before_the_source_moved(
    autojump_clock: MockClock,
) -> None:
    async with leg(RtpTiming(timeout_s=0)) as subject:
        subject.port.latch.locked = ("192.0.2.99", 9)
        former = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        former.bind((HOST, 0))
        former.setblocking(False)
        hear_rtcp_from(subject, former)
        await trio.sleep(20)
        with pytest.raises(BlockingIOError):
            former.recv(2048)
        former.close()


@pytest.mark.parametrize("rtcp_mux", [False, True])
async def test_a_peer_that_takes_no_rtcp_gets_none(autojump_clock: MockClock, rtcp_mux: bool) -> None:
    async with leg(RtpTiming(timeout_s=0), rtcp_use="never", rtcp_mux=rtcp_mux) as subject:
        subject.world.run(3)
        subject.port.latch.locked = (HOST, subject.peer.getsockname()[1])
        await trio.sleep(60)
        assert subject.received() == []
        peer = subject.peer.dup()
    with pytest.raises(BlockingIOError):
        peer.recv(2048)
    peer.close()


async def test_without_bandwidth_for_receivers_reports_go_out_while_we_send(
    autojump_clock: MockClock,
) -> None:
    async with leg(RtpTiming(timeout_s=0), rtcp_use="sending") as subject:
        await trio.sleep(60)
        assert subject.received()
        subject.port.sending = False
        await trio.sleep(60)
        assert all(parse_rtcp(data) is None for data in subject.received())


async def test_without_rtcp_keep_alives_keep_a_multiplexed_way_open(autojump_clock: MockClock) -> None:
    async with leg(RtpTiming(timeout_s=0), rtcp_use="never", rtcp_mux=True) as subject:
        subject.port.sending = False
        subject.port.latch.locked = (HOST, subject.peer.getsockname()[1])
        await trio.sleep(60)
        packets = subject.received()
        assert 3 <= len(packets) <= 4
        assert all(len(data) == 12 and parse_rtcp(data) is None for data in packets)


async def test_the_end_is_said_with_a_goodbye_when_something_was_sent(autojump_clock: MockClock) -> None:
    async with leg(RtpTiming(timeout_s=0)) as subject:
        subject.world.run(3)
        nothing_yet = [data for data in subject.received() if b"\xcb" in data]
        assert nothing_yet == []
        peer = subject.peer.dup()
    packets = parse_rtcp(peer.recv(2048))
    peer.close()
    assert packets is not None
    assert type(packets[-1]).__name__ == "Goodbye"
