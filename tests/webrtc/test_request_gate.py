from tests.webrtc.network import seeded
from vb.webrtc import stun
from vb.webrtc.checklist import Checklist
from vb.webrtc.generation import Generation, new_credentials
from vb.webrtc.request_gate import REQUESTS_PER_S, RequestGate
from vb.webrtc.stun import Attr, Kind, Message, Method

OLD, NEW = (Generation(new_credentials(seeded(n)), Checklist(controlling=True)) for n in (1, 2))


def request(generation: Generation, *, key: bytes | None = None) -> Message:
    user = f"{generation.local.ufrag}:peer".encode()
    key = key or generation.local.password.encode()
    return stun.parse(stun.build(Kind.REQUEST, Method.BINDING, bytes(12), [(Attr.USERNAME, user)], key=key))


def test_a_request_belongs_to_the_generation_that_signed_it() -> None:
    gate = RequestGate()
    assert gate.admit(request(OLD), [OLD, NEW], 0.0) is OLD
    assert gate.admit(request(NEW), [OLD, NEW], 0.0) is NEW
    assert gate.admit(request(NEW), [OLD], 0.0) is None
    assert gate.admit(request(OLD, key=b"guess"), [OLD, NEW], 0.0) is None


def test_signatures_are_computed_at_a_limited_rate_and_requests_for_others_cost_nothing() -> None:
    gate = RequestGate()
    for _ in range(1000):
        assert gate.admit(request(NEW), [OLD], 0.0) is None
    taken = [gate.admit(request(OLD), [OLD], 0.0) for _ in range(200)]
    assert taken.count(OLD) == REQUESTS_PER_S
    assert gate.admit(request(OLD), [OLD], 0.05) is OLD
    assert gate.admit(request(OLD), [OLD], 0.01) is OLD
