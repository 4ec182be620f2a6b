"""The four state machines with a clock that the test sets.  RFC 3261 §17, RFC 6026."""

from __future__ import annotations

import weakref

import pytest

from vb.sip.client_transaction import ClientTransaction, InviteClientTransaction, NonInviteClientTransaction
from vb.sip.hop import Hop, TransactionKey
from vb.sip.message import Headers, Request, Response, response_to
from vb.sip.server_transaction import InviteServerTransaction, NonInviteServerTransaction, server_key
from vb.sip.timers import AT_ONCE, QueueEntry, Timed, TimerQueue
from vb.sip.transaction import FailureKind, Transaction

UDP = Hop("udp", "127.0.0.1", 5060)
TCP = Hop("tcp", "127.0.0.1", 5060)


class Host:
    """An agent that only writes down what a transaction asks of it."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.timers = TimerQueue()
        self.forgotten = 0
        self.results: list[int | str] = []

    def send(self, data: bytes, hop: Hop, sender: TransactionKey | None = None) -> None:
        first = data.split(b"\r\n", 1)[0].decode().split(" ")
        self.sent.append(first[1] if first[0] == "SIP/2.0" else first[0])

    def schedule(self, item: Timed) -> None:
        self.timers.schedule(item)

    def forget(self, transaction: Transaction) -> None:
        self.forgotten += 1

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        self.results.append(response.status)

    def on_failure(self, transaction: ClientTransaction, kind: FailureKind, now: float) -> None:
        self.results.append(kind)

    def times(self, until: float) -> list[float]:
        """Run the timers and return when something was sent."""
        times = []
        while (deadline := self.timers.deadline()) is not None and deadline <= until:
            before = len(self.sent)
            self.timers.expire(deadline)
            times += [deadline] * (len(self.sent) - before)
        return times


def request(method: str) -> Request:
    headers = Headers(
        [
            ("Via", "SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKt"),
            ("From", "<sip:a@b>;tag=1"),
            ("To", "<sip:b@b>"),
            ("Call-ID", "c"),
            ("CSeq", f"1 {method}"),
        ]
    )
    return Request(method, "sip:b@b", headers)


def client(host: Host, method: str, hop: Hop = UDP) -> ClientTransaction:
    kind = InviteClientTransaction if method == "INVITE" else NonInviteClientTransaction
    transaction = kind(host, request(method), hop, host.on_response, host.on_failure)
    transaction.start(0.0)
    return transaction


def answer(transaction: ClientTransaction, status: int, now: float) -> None:
    transaction.receive(response_to(transaction.request, status, to_tag="x"), now)


def test_an_invite_is_repeated_with_doubling_intervals() -> None:
    host = Host()
    client(host, "INVITE")
    assert host.times(31.9) == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    host.times(32.0)
    assert (host.results, host.forgotten) == (["timeout"], 1)


def test_an_invite_over_tcp_is_not_repeated() -> None:
    host = Host()
    client(host, "INVITE", TCP)
    assert host.times(40) == []
    assert host.results == ["timeout"]


def test_a_refused_invite_is_acked_again_for_32_seconds() -> None:
    host = Host()
    transaction = client(host, "INVITE")
    answer(transaction, 486, 1.0)
    answer(transaction, 486, 2.0)
    answer(transaction, 180, 2.0)
    assert host.sent == ["INVITE", "ACK", "ACK"]
    assert host.results == [486]
    assert host.times(32.9) == []
    assert host.forgotten == 0
    host.times(33.0)
    assert host.forgotten == 1


def test_every_2xx_reaches_the_user_while_accepted_rfc6026() -> None:
    host = Host()
    transaction = client(host, "INVITE")
    answer(transaction, 200, 1.0)
    answer(transaction, 200, 20.0)
    answer(transaction, 486, 20.0)
    assert host.results == [200, 200]
    assert host.sent == ["INVITE"]
    host.times(33.0)
    assert host.forgotten == 1


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_a_transaction_that_is_to_end_by_a_time_does_so_whatever_is_tried(method: str) -> None:
    host = Host()
    transaction = client(host, method, TCP)
    answer(transaction, 100, 1.0)
    transaction.end_by(20.0)
    answer(transaction, 183, 2.0)
    host.times(19.9)
    assert host.forgotten == 0
    host.times(20.0)
    assert (host.results[-1], host.forgotten) == ("timeout", 1)


def test_a_transaction_that_has_its_final_response_lingers_as_ever() -> None:
    host = Host()
    transaction = client(host, "INVITE")
    answer(transaction, 200, 1.0)
    transaction.end_by(2.0)
    host.times(32.9)
    assert (host.results, host.forgotten) == ([200], 0)


def test_a_non_invite_is_repeated_up_to_t2() -> None:
    host = Host()
    client(host, "OPTIONS")
    assert host.times(31.9) == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    host.times(32.0)
    assert host.results == ["timeout"]


def test_a_non_invite_reports_one_final_response() -> None:
    host = Host()
    transaction = client(host, "BYE")
    answer(transaction, 100, 0.1)
    answer(transaction, 200, 0.2)
    answer(transaction, 200, 0.3)
    assert host.results == [100, 200]
    host.times(5.3)
    assert host.forgotten == 1


def test_a_transport_failure_is_reported_once() -> None:
    host = Host()
    transaction = client(host, "BYE")
    transaction.transport_failed(0.1)
    transaction.transport_failed(0.2)
    assert (host.results, host.times(100)) == (["transport"], [])


def server(host: Host, method: str, hop: Hop = UDP) -> InviteServerTransaction | NonInviteServerTransaction:
    message = request(method)
    key = server_key(message)
    if method == "INVITE":
        trying = response_to(message, 100)
        return InviteServerTransaction(host, key, message, hop, "tag", trying, 0.0)
    return NonInviteServerTransaction(host, key, message, hop, "tag")


def test_an_invite_without_a_response_gets_100_after_200_ms() -> None:
    host = Host()
    server(host, "INVITE")
    assert host.times(10) == [0.2]
    assert host.sent == ["100"]


def test_an_answered_request_is_let_go_while_its_answer_waits_for_repetitions() -> None:
    host = Host()
    transaction = server(host, "BYE")
    bye = transaction.request
    transaction.respond(response_to(bye, 200), 0.0)
    assert transaction.request is not bye
    transaction.receive(request("BYE"), 1.0)
    assert host.sent == ["200", "200"]


def test_a_refusal_is_repeated_until_the_ack() -> None:
    host = Host()
    transaction = server(host, "INVITE")
    transaction.respond(response_to(transaction.request, 486), 0.0)
    assert host.times(12) == [0.5, 1.5, 3.5, 7.5, 11.5]
    transaction.receive(request("ACK"), 12.0)
    assert transaction.state == "confirmed"
    transaction.receive(request("INVITE"), 12.1)
    assert len(host.sent) == 6
    assert host.times(17.0) == []
    assert host.forgotten == 1


def test_a_refusal_nobody_acks_is_given_up() -> None:
    host = Host()
    transaction = server(host, "INVITE")
    assert isinstance(transaction, InviteServerTransaction)
    settled: list[float] = []
    transaction.on_settled = settled.append
    transaction.respond(response_to(transaction.request, 486), 0.0)
    host.times(40)
    assert settled == [32.0]
    assert host.forgotten == 1


def test_an_accepted_invite_absorbs_repetitions_rfc6026() -> None:
    host = Host()
    transaction = server(host, "INVITE")
    transaction.respond(response_to(transaction.request, 200), 0.0)
    transaction.receive(request("INVITE"), 1.0)
    transaction.respond(response_to(transaction.request, 486), 1.0)
    assert host.sent == ["200"]
    host.times(32.0)
    assert host.forgotten == 1


@pytest.mark.parametrize(("hop", "lingers"), [(UDP, 32.0), (TCP, 0.0)])
def test_a_non_invite_server_lingers_on_udp_only(hop: Hop, lingers: float) -> None:
    host = Host()
    transaction = server(host, "BYE", hop)
    transaction.respond(response_to(transaction.request, 200), 0.0)
    assert host.forgotten == (0 if lingers else 1)
    if lingers:
        transaction.receive(request("BYE"), 31.0)
        assert host.sent == ["200", "200"]
        host.times(lingers)
        assert host.forgotten == 1


def test_requests_of_rfc2543_peers_are_told_apart_by_more_than_the_branch() -> None:
    one, two = request("INVITE"), request("INVITE")
    for message, call_id in ((one, "c1"), (two, "c2")):
        message.headers.set("Via", "SIP/2.0/UDP 127.0.0.1")
        message.headers.set("Call-ID", call_id)
    assert server_key(one) != server_key(two)


def test_a_deadline_that_moves_later_costs_one_entry() -> None:
    class Item:
        queued_as: QueueEntry | None = None
        deadline: float | None = 1.0
        expired: list[float]

        def expire(self, now: float) -> None:
            self.expired.append(now)
            self.deadline = None

    queue, item = TimerQueue(), Item()
    item.expired = []
    queue.schedule(item)
    item.deadline = 5.0
    queue.schedule(item)
    assert len(queue) == 1
    queue.expire(1.0)
    assert item.expired == []
    item.deadline = 3.0
    queue.schedule(item)
    queue.expire(3.0)
    queue.expire(10.0)
    assert item.expired == [3.0]
    assert queue.deadline() is None


class Due:
    """An item that is due once, and notes that it was."""

    def __init__(self, at: float, noted: list[float]) -> None:
        self.queued_as: QueueEntry | None = None
        self.deadline: float | None = at
        self._noted = noted

    def expire(self, now: float) -> None:
        assert self.deadline is not None
        self._noted.append(self.deadline)
        self.deadline = None


def test_a_thousand_timers_due_at_once_expire_a_few_at_a_time_in_order_and_none_is_lost() -> None:
    noted: list[float] = []
    queue = TimerQueue()
    times = [number * 7 % 1000 / 1000 for number in range(1000)]
    for at in times:
        queue.schedule(Due(at, noted))
    sizes = []
    while (deadline := queue.deadline()) is not None:
        assert deadline <= 1.0, "what is left is still due"
        before = len(noted)
        queue.expire(1.0, AT_ONCE)
        sizes.append(len(noted) - before)
    assert noted == sorted(times)
    assert sizes == [AT_ONCE] * (1000 // AT_ONCE) + [1000 % AT_ONCE]


def test_timers_that_were_moved_count_among_those_that_run_at_a_time() -> None:
    noted: list[float] = []
    queue = TimerQueue()
    moved = [Due(0.5, noted) for _ in range(AT_ONCE)]
    for item in moved:
        queue.schedule(item)
        item.deadline = 2.0
    queue.schedule(Due(0.6, noted))
    queue.expire(1.0, AT_ONCE)
    assert noted == []
    queue.expire(1.0, AT_ONCE)
    assert noted == [0.6]
    assert queue.deadline() == 2.0


def test_nobody_is_woken_for_a_deadline_that_has_moved_or_gone() -> None:
    class Item:
        queued_as: QueueEntry | None = None

        def __init__(self, deadline: float) -> None:
            self.deadline: float | None = deadline

        def expire(self, now: float) -> None:
            self.deadline = None

    queue, moved, gone = TimerQueue(), Item(1.0), Item(2.0)
    queue.schedule(moved)
    queue.schedule(gone)
    moved.deadline, gone.deadline = 5.0, None
    assert queue.deadline() == 5.0
    assert len(queue) == 1
    gone.deadline = 4.0
    queue.schedule(gone)
    assert queue.deadline() == 4.0


def test_a_deadline_that_is_not_before_a_time_is_none() -> None:
    queue = TimerQueue()
    queue.schedule(Due(4.0, []))
    assert (queue.deadline(4.0), queue.deadline(4.1), queue.deadline()) == (None, 4.0, 4.0)


def test_an_item_that_was_discarded_is_let_go_long_before_its_time() -> None:
    queue = TimerQueue()
    queue.schedule(Due(32.0, []))
    moved, gone = Due(60.0, []), Due(60.0, [])
    for item in (moved, gone):
        queue.schedule(item)
    moved.deadline = 30.0
    queue.schedule(moved)
    left = [weakref.ref(moved), weakref.ref(gone)]
    for item in (moved, gone):
        queue.discard(item)
    del item, moved, gone
    assert [ref() for ref in left] == [None, None]
    assert queue.deadline() == 32.0
