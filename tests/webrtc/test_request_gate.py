from tests.webrtc.network import seeded
from vb.webrtc import stun
from vb.webrtc.checklist import Checklist
from vb.webrtc.generation import Generation, new_credentials
from vb.webrtc.request_gate import REMEMBERED, REQUESTS_PER_S, RequestGate
from vb.webrtc.stun import Attr, Kind, Message, Method

OLD, NEW = (Generation(new_credentials(seeded(n)), Checklist(controlling=True)) for n in (1, 2))
HERE = ("192.0.2.1", 4000)
WAY, ELSEWHERE = (HERE, ("198.51.100.1", 5000)), (HERE, ("203.0.113.66", 666))


def request(generation: Generation, number: int = 0, *, key: bytes | None = None) -> Message:
    user = f"{generation.local.ufrag}:peer".encode()
    key = key or generation.local.password.encode()
    tid = number.to_bytes(12)
    return stun.parse(stun.build(Kind.REQUEST, Method.BINDING, tid, [(Attr.USERNAME, user)], key=key))


def test_a_request_belongs_to_the_generation_that_signed_it() -> None:
    gate = RequestGate(remembers=True)
    assert gate.admit(request(OLD), WAY, [OLD, NEW], 0.0) is OLD
    assert gate.admit(request(NEW), WAY, [OLD, NEW], 0.0) is NEW
    assert gate.admit(request(NEW), WAY, [OLD], 0.0) is None
    assert gate.admit(request(OLD, key=b"guess"), WAY, [OLD, NEW], 0.0) is None


def test_signatures_are_computed_at_a_limited_rate_and_requests_for_others_cost_nothing() -> None:
    gate = RequestGate(remembers=True)
    for _ in range(1000):
        assert gate.admit(request(NEW), WAY, [OLD], 0.0) is None
    taken = [gate.admit(request(OLD), WAY, [OLD], 0.0) for _ in range(200)]
    assert taken.count(OLD) == REQUESTS_PER_S
    assert gate.admit(request(OLD), WAY, [OLD], 0.05) is OLD
    assert gate.admit(request(OLD), WAY, [OLD], 0.01) is OLD


def test_a_request_seen_before_is_taken_again_from_where_it_came_only() -> None:
    gate = RequestGate(remembers=True)
    other_base = (("192.0.2.2", 4002), WAY[1])
    for way, taken in ((WAY, OLD), (ELSEWHERE, None), (other_base, None), (WAY, OLD)):
        assert gate.admit(request(OLD), way, [OLD], 0.0) is taken
    assert gate.admit(request(OLD, 1), ELSEWHERE, [OLD], 0.0) is OLD


def test_a_request_without_our_signature_is_not_remembered() -> None:
    gate = RequestGate(remembers=True)
    assert gate.admit(request(OLD, key=b"guess"), ELSEWHERE, [OLD], 0.0) is None
    assert gate.admit(request(OLD), WAY, [OLD], 0.0) is OLD


def test_requests_seen_before_elsewhere_take_nothing_from_what_is_allowed() -> None:
    gate = RequestGate(remembers=True)
    assert gate.admit(request(OLD), WAY, [OLD], 0.0) is OLD
    for _ in range(1000):
        assert gate.admit(request(OLD), ELSEWHERE, [OLD], 0.0) is None
    assert gate.admit(request(OLD, 1), WAY, [OLD], 0.0) is OLD


def test_the_oldest_requests_are_forgotten() -> None:
    gate = RequestGate(remembers=True)
    for number in range(REMEMBERED + 1):
        assert gate.admit(request(OLD, number), WAY, [OLD], float(number)) is OLD
    now = float(REMEMBERED)
    assert gate.admit(request(OLD, 1), ELSEWHERE, [OLD], now) is None
    assert gate.admit(request(OLD, 0), ELSEWHERE, [OLD], now) is OLD
