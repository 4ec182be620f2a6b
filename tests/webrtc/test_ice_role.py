from tests.webrtc.network import seeded
from vb.webrtc import stun
from vb.webrtc.ice_role import Conflict, IceRole
from vb.webrtc.stun import Attr, Kind, Message, Method

LOWEST, HIGHEST = bytes(8), b"\xff" * 8


def claim(attribute: Attr, tie_breaker: bytes) -> Message:
    return stun.parse(stun.build(Kind.REQUEST, Method.BINDING, bytes(12), [(attribute, tie_breaker)]))


def role(*, controlling: bool, fixed: bool = False) -> IceRole:
    return IceRole(seeded(1), controlling=controlling, fixed=fixed)


def test_the_larger_number_controls() -> None:
    controlling, controlled = role(controlling=True), role(controlling=False)
    assert controlling.judge(claim(Attr.ICE_CONTROLLING, LOWEST)) is Conflict.REFUSE
    assert controlling.judge(claim(Attr.ICE_CONTROLLING, HIGHEST)) is Conflict.SWITCH
    assert controlled.judge(claim(Attr.ICE_CONTROLLED, LOWEST)) is Conflict.SWITCH
    assert controlled.judge(claim(Attr.ICE_CONTROLLED, HIGHEST)) is Conflict.REFUSE


def test_roles_that_fit_are_no_conflict() -> None:
    assert role(controlling=True).judge(claim(Attr.ICE_CONTROLLED, HIGHEST)) is Conflict.NONE
    assert role(controlling=False).judge(claim(Attr.ICE_CONTROLLING, LOWEST)) is Conflict.NONE


def test_a_lite_agent_never_controls() -> None:
    lite = role(controlling=True, fixed=True)
    assert not lite.controlling
    assert lite.judge(claim(Attr.ICE_CONTROLLED, LOWEST)) is Conflict.REFUSE


def test_a_refused_role_is_given_up_unless_it_was_already_and_the_number_changes() -> None:
    ours = role(controlling=True)
    before = ours.tie_breaker
    assert ours.refused(claimed=True)
    assert ours.tie_breaker != before
    assert not ours.refused(claimed=False)
