from __future__ import annotations

from tests.webrtc.network import seeded
from vb.webrtc import stun
from vb.webrtc.reflexive import ReflexiveQueries
from vb.webrtc.stun import Attr, Kind, Method

SERVER, MAPPED = ("192.0.2.1", 3478), ("203.0.113.5", 4000)


def answer(request: bytes, kind: Kind = Kind.SUCCESS) -> bytes:
    tid = stun.parse(request).transaction_id
    attributes = [(int(Attr.XOR_MAPPED_ADDRESS), stun.xor_address(MAPPED, tid))]
    return stun.build(kind, Method.BINDING, tid, attributes)


def test_an_answer_tells_the_address() -> None:
    queries = ReflexiveQueries(seeded(1))
    request = queries.ask(SERVER, 0.0)
    assert queries.deadline() is not None
    assert queries.receive(answer(request), SERVER)
    assert queries.done
    assert queries.found == [MAPPED]
    assert not queries.receive(answer(request), SERVER)


def test_an_answer_of_another_server_or_to_another_question_is_not_ours() -> None:
    queries = ReflexiveQueries(seeded(1))
    request = queries.ask(SERVER, 0.0)
    other = ReflexiveQueries(seeded(2)).ask(SERVER, 0.0)
    assert not queries.receive(answer(request), ("192.0.2.9", 3478))
    assert not queries.receive(answer(other), SERVER)
    assert not queries.receive(b"", SERVER)
    assert not queries.done


def test_a_damaged_answer_is_waited_for_again() -> None:
    queries = ReflexiveQueries(seeded(1))
    request = queries.ask(SERVER, 0.0)
    assert queries.receive(answer(request)[:-3], SERVER)
    assert not queries.done


def test_an_error_ends_the_question() -> None:
    queries = ReflexiveQueries(seeded(1))
    assert queries.receive(answer(queries.ask(SERVER, 0.0), Kind.ERROR), SERVER)
    assert queries.done
    assert queries.found == []


def test_a_silent_server_is_asked_four_times_and_given_up() -> None:
    queries = ReflexiveQueries(seeded(1))
    request, at, sent = queries.ask(SERVER, 0.0), 0.0, 1
    while (deadline := queries.deadline()) is not None:
        assert deadline > at
        at = deadline
        for again in queries.expire(at):
            assert again == (request, SERVER)
            sent += 1
    assert (sent, at) == (4, 7.5)
    assert queries.done
