"""Objects on their way to one subscriber: groups, ranges, and a reader that is too slow."""

from __future__ import annotations

from tests.moq.peers import MIX, Heard, Talk
from tests.support.webtransport import End
from vb.moq.codes import ResetCode
from vb.moq.fields import Filter
from vb.moq.publication import GROUP_OBJECTS, MAX_BEHIND_OBJECTS, Publication, Published
from vb.moq.wire import Location


def publication(end: End, wanted: Filter | None = None, *, forward: bool = True) -> Publication:
    found = Publication.answer(end, Published(MIX), 0, 7, wanted or Filter(), forward=forward)
    assert found is not None
    return found


def test_a_second_of_objects_is_one_stream() -> None:
    talk = Talk()
    sent, heard = talk.subscribed()
    for number in range(2 * GROUP_OBJECTS + 1):
        sent.send(number.to_bytes(2))
        talk.pair.deliver()
    assert sent.streams == 3
    assert heard.groups_over == [0, 1]
    assert [int.from_bytes(payload) for _, _, payload in heard.objects] == list(range(2 * GROUP_OBJECTS + 1))
    assert heard.objects[-1][:2] == (2, 0)


def test_a_slow_reader_loses_the_oldest_objects_and_is_never_far_behind() -> None:
    end = End(client=False, stalled=True)
    sent, dropped = publication(end), 0
    most = 0
    for _ in range(1000):
        dropped += sent.send(b"x" * 60)
        most = max(most, sum(end.unsent(3 + 4 * number) for number in range(sent.streams)))
    assert most <= (MAX_BEHIND_OBJECTS + 2) * 64
    assert 900 < dropped < 1000
    assert {code for _, code in end.resets} == {ResetCode.DELIVERY_TIMEOUT}
    assert len(end.resets) >= sent.streams - 2


def test_a_reader_that_catches_up_loses_nothing() -> None:
    talk = Talk()
    sent, heard = talk.subscribed()
    for number in range(400):
        talk.server_end.stalled = number % 40 < 30
        assert sent.send(bytes([number % 251])) == 0
        talk.pair.deliver()
    talk.server_end.stalled = False
    talk.pair.deliver()
    assert len(heard.objects) == 400


def test_without_credit_for_streams_objects_are_dropped_until_there_is_some() -> None:
    end = End(client=False, streams=1)
    sent = publication(end)
    assert [sent.send(b"x") for _ in range(GROUP_OBJECTS + 3)] == [0] * GROUP_OBJECTS + [1, 1, 1]
    end.streams = 1
    assert sent.send(b"x") == 0
    assert sent.streams == 2


def test_a_stopped_stream_costs_its_group_and_the_next_object_begins_another() -> None:
    talk = Talk()
    sent, heard = talk.subscribed()
    sent.send(b"a")
    talk.pair.deliver()
    talk.server.stopped(3, 1)
    sent.send(b"b")
    talk.pair.deliver()
    assert talk.server_end.resets == [(3, ResetCode.CANCELLED)]
    assert heard.objects == [(0, 0, b"a"), (1, 0, b"b")]


def test_objects_are_not_sent_to_who_does_not_want_them_now() -> None:
    end = End(client=False)
    sent = publication(end, forward=False)
    assert sent.send(b"x") == 0
    assert not end.sent


def test_a_range_ends_by_itself() -> None:
    end, other = End(client=False), End(client=True)
    sent = publication(end, Filter(4, Location(2, 0), 3))
    for _ in range(2 * GROUP_OBJECTS):
        assert not sent.finished
        assert sent.send(b"x") == 0
        end.deliver(other)
    assert sent.finished
    assert sent.send(b"x") == 1
    assert sent.published.largest == Location(3, GROUP_OBJECTS - 1)


def test_who_waits_for_a_later_group_gets_it_at_once() -> None:
    end = End(client=False)
    sent = publication(end, Filter(3, Location(41, 3)))
    sent.send(b"x")
    assert sent.published.largest == Location(42, 0)


def test_an_object_alone_is_a_group_of_its_own() -> None:
    talk = Talk()
    heard = Heard()
    talk.client.subscribe(MIX, heard)
    talk.pair.deliver()
    sent = talk.host.publications[0]
    assert sent.send_alone(b"one")
    assert sent.send_alone(b"two")
    talk.pair.deliver()
    assert heard.objects == [(0, 0, b"one"), (1, 0, b"two")]
    assert heard.groups_over == [0, 1]


def test_objects_alone_are_not_taken_while_too_much_waits() -> None:
    end = End(client=False, stalled=True)
    sent = publication(end)
    taken = [sent.send_alone(b"x" * 16_000) for _ in range(20)]
    assert 4 <= sum(taken) <= 6
    assert not any(taken[6:])
    assert end.resets == []


def test_unsubscribing_gives_up_what_is_open() -> None:
    end = End(client=False)
    sent = publication(end)
    sent.send(b"x")
    sent.cancel()
    assert end.resets == [(3, ResetCode.CANCELLED)]
