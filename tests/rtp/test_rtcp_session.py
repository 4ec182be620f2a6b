import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ids import SequentialIds
from vb.rtp.rtcp import Goodbye, Report, ReportBlock, RtcpPacket, SenderInfo, SourceDescription, build_rtcp
from vb.rtp.rtcp import parse_rtcp as parse
from vb.rtp.rtcp_session import RtcpSession, SentSnapshot
from vb.rtp.stats import ReceptionSnapshot

OURS, THEIRS = 0xAAAA, 0xBBBB
WALL_S = 1_700_000_000.0


class FixedIds(SequentialIds):
    """Draws one 32-bit number again and again."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def u32(self) -> int:
        return self._number


def new_session(now: float = 0.0) -> RtcpSession:
    return RtcpSession(OURS, "leg@vb", FixedIds(2**31), now)


def sent(packets: int = 50) -> SentSnapshot:
    return SentSnapshot(packets, packets * 160, 1000 + packets * 160)


def received(count: int, expected: int, ssrc: int = THEIRS, jitter: float = 12.7) -> ReceptionSnapshot:
    return ReceptionSnapshot(ssrc, count, expected, 5000 + expected, jitter, 8000)


def report(
    session: RtcpSession, now: float, reception: ReceptionSnapshot | None, packets: int = 50
) -> Report:
    compound = parse(session.report(now, WALL_S + now, sent(packets), reception))
    assert compound is not None
    first = compound[0]
    assert isinstance(first, Report)
    return first


def deliver(session: RtcpSession, now: float, *packets: RtcpPacket) -> None:
    session.receive(build_rtcp(packets), now)


def test_compound_is_a_sender_report_and_our_name() -> None:
    compound = parse(new_session().report(5.0, WALL_S, sent(), received(50, 50)))
    assert compound is not None
    assert [type(packet) for packet in compound] == [Report, SourceDescription]
    assert compound[1] == SourceDescription(((OURS, "leg@vb"),))


def test_sender_information_pairs_wall_time_with_the_stream() -> None:
    sender = report(new_session(), 0.0, None).sender
    assert sender == SenderInfo((1_700_000_000 + 2_208_988_800) << 32, 9000, 50, 8000)


def test_stream_that_did_not_move_sends_a_receiver_report() -> None:
    session = new_session()
    assert report(session, 5.0, None, packets=50).sender is not None
    assert report(session, 10.0, None, packets=50).sender is None
    assert report(session, 15.0, None, packets=51).sender is not None


def test_session_that_never_sent_gives_receiver_reports() -> None:
    assert report(new_session(), 5.0, received(5, 5), packets=0).sender is None


def test_nothing_received_is_nothing_reported() -> None:
    assert report(new_session(), 5.0, None).blocks == ()


def test_counters_beyond_their_fields_wrap() -> None:
    session = new_session()
    huge = SentSnapshot(2**32 + 1, 2**33 + 2, 2**32 + 3)
    compound = parse(session.report(1.0, WALL_S, huge, None))
    assert compound is not None
    assert isinstance(compound[0], Report)
    assert compound[0].sender is not None
    assert (compound[0].sender.packets, compound[0].sender.octets, compound[0].sender.timestamp) == (1, 2, 3)


@given(st.integers(0, 2**32 - 1))
def test_reports_are_between_half_and_one_and_a_half_intervals_apart(number: int) -> None:
    session = RtcpSession(OURS, "x", FixedIds(number), now=100.0)
    assert 101.25 <= session.deadline < 103.75
    session.report(200.0, WALL_S, sent(), None)
    assert 202.5 <= session.deadline < 207.5


def test_fraction_lost_covers_the_time_since_the_last_report() -> None:
    session = new_session()
    assert report(session, 5.0, received(75, 100)).blocks[0].fraction_lost == 64
    second = report(session, 10.0, received(175, 200)).blocks[0]
    assert (second.fraction_lost, second.cumulative_lost) == (0, 25)
    third = report(session, 15.0, received(225, 300)).blocks[0]
    assert (third.fraction_lost, third.cumulative_lost) == (128, 75)


def test_silence_between_two_reports_is_no_loss() -> None:
    session = new_session()
    report(session, 5.0, received(75, 100))
    assert report(session, 10.0, received(75, 100)).blocks[0].fraction_lost == 0


def test_duplicates_make_negative_loss() -> None:
    block = report(new_session(), 5.0, received(110, 100)).blocks[0]
    assert (block.fraction_lost, block.cumulative_lost) == (0, -10)


def test_loss_beyond_its_fields_is_held_at_their_ends() -> None:
    block = report(new_session(), 5.0, received(0, 2**24)).blocks[0]
    assert (block.fraction_lost, block.cumulative_lost) == (255, 0x7F_FFFF)


def test_new_source_is_reported_from_zero() -> None:
    session = new_session()
    report(session, 5.0, received(1000, 1000))
    assert report(session, 10.0, received(50, 100, ssrc=0xCCCC)).blocks[0].fraction_lost == 128


def test_block_carries_sequence_and_jitter() -> None:
    block = report(new_session(), 5.0, received(100, 100)).blocks[0]
    assert (block.ssrc, block.highest_sequence, block.jitter) == (THEIRS, 5100, 12)


def test_block_echoes_the_last_sender_report_with_its_age() -> None:
    session = new_session()
    deliver(session, 7.0, Report(THEIRS, SenderInfo(0x1122_3344_5566_7788, 1, 2, 3)))
    block = report(session, 8.5, received(10, 10)).blocks[0]
    assert block.last_report == 0x3344_5566
    assert block.delay_since_last_report == 65536 * 3 // 2


def test_sender_report_of_another_source_is_not_echoed() -> None:
    session = new_session()
    deliver(session, 7.0, Report(0xDDDD, SenderInfo(0x1122_3344_5566_7788, 1, 2, 3)))
    assert report(session, 8.5, received(10, 10)).blocks[0].last_report == 0


def test_round_trip_is_the_time_between_report_and_echo_without_the_peers_delay() -> None:
    session = new_session()
    sender = report(session, 5.0, None).sender
    assert sender is not None
    echo = ReportBlock(OURS, 51, 20, 900, 30, sender.ntp >> 16 & 0xFFFF_FFFF, 2 * 65536)
    deliver(session, 7.08, Report(THEIRS, None, (echo,)))
    assert session.peer_report is not None
    assert session.peer_report.round_trip_s == pytest.approx(0.08, abs=1e-4)
    assert session.peer_report.fraction_lost == pytest.approx(0.2, abs=0.01)
    assert (session.peer_report.cumulative_lost, session.peer_report.jitter) == (20, 30)


def test_echo_of_a_report_never_sent_keeps_the_known_round_trip() -> None:
    session = new_session()
    sender = report(session, 5.0, None).sender
    assert sender is not None
    genuine = ReportBlock(OURS, 0, 0, 900, 30, sender.ntp >> 16 & 0xFFFF_FFFF, 0)
    deliver(session, 5.05, Report(THEIRS, None, (genuine,)))
    deliver(session, 9.0, Report(THEIRS, None, (ReportBlock(OURS, 0, 0, 900, 30, 0xDEAD_BEEF, 0),)))
    assert session.peer_report is not None
    assert session.peer_report.round_trip_s == pytest.approx(0.05)


@pytest.mark.parametrize(("delay_s", "round_trip_s"), [(1.001, 0.0), (9.0, None)])
def test_echo_that_claims_more_delay_than_time_passed(delay_s: float, round_trip_s: float | None) -> None:
    session = new_session()
    sender = report(session, 5.0, None).sender
    assert sender is not None
    echo = ReportBlock(OURS, 0, 0, 0, 0, sender.ntp >> 16 & 0xFFFF_FFFF, int(delay_s * 65536))
    deliver(session, 6.0, Report(THEIRS, None, (echo,)))
    assert session.peer_report is not None
    assert session.peer_report.round_trip_s == round_trip_s


def test_report_about_another_source_tells_nothing_about_us() -> None:
    session = new_session()
    deliver(session, 1.0, Report(THEIRS, None, (ReportBlock(0xDDDD, 200, 100, 1, 1),)))
    assert session.peer_report is None


def test_a_goodbye_from_the_network_changes_nothing() -> None:
    session = new_session()
    before = session.deadline
    deliver(session, 1.0, Report(THEIRS), Goodbye((THEIRS,), "spoofed"))
    assert session.deadline == before
    assert report(session, 5.0, received(10, 10)).blocks[0].ssrc == THEIRS


def test_our_goodbye_is_a_compound_with_report_and_name() -> None:
    compound = parse(new_session().goodbye(9.0, WALL_S, sent(), received(10, 10)))
    assert compound is not None
    assert [type(packet) for packet in compound] == [Report, SourceDescription, Goodbye]
    assert compound[2] == Goodbye((OURS,))


@given(st.binary(max_size=200))
def test_any_bytes_leave_the_next_report_as_it_was(datagram: bytes) -> None:
    session = new_session()
    before = session.deadline
    session.receive(datagram, 1.0)
    assert session.deadline == before


def test_reports_of_a_day_are_not_kept() -> None:
    session = new_session()
    for tick in range(17_000):
        report(session, tick * 5.0, None, packets=tick + 1)
    assert len(session._sent_reports) == 16
