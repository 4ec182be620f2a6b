"""Offers and answers with keys: what is taken, what is said, and what comes of it."""

from __future__ import annotations

import hashlib
from itertools import count

import pytest

from tests.sdp.offers import PCMU, pcmu_offer
from tests.sdp.test_crypto import CM_80, KEY, KEY_TEXT, OTHER_TEXT
from vb.choices import SrtpPolicy
from vb.sdp import AnswerRejected, OfferAnswer, OfferRejected, check_offer
from vb.sdp.crypto import SdesKeys, Suite
from vb.sdp.forks import Forks
from vb.sdp.keying import Keying

CRYPTO = f"a=crypto:1 {CM_80} inline:{KEY_TEXT}"
OTHER = f"a=crypto:1 {CM_80} inline:{OTHER_TEXT}"


def keying(policy: SrtpPolicy = "off", seed: str = "ours") -> Keying:
    drawn = count()
    return Keying(policy, lambda size: hashlib.sha512(f"{seed}{next(drawn)}".encode()).digest()[:size])


def side(policy: SrtpPolicy = "off", seed: str = "ours", *, text: bool = False) -> OfferAnswer:
    made = OfferAnswer(
        address="192.0.2.1",
        rtp_port=30000 if seed == "ours" else 40000,
        codecs=[PCMU],
        session_id=7,
        keying=keying(policy, seed),
    )
    if text:
        made.text_port = 30002
    return made


def secure(*more: str) -> bytes:
    return pcmu_offer(*more).replace(b"RTP/AVP", b"RTP/SAVP")


def lines_of(description: bytes, start: str) -> list[str]:
    return [line for line in description.decode().split("\r\n") if line.startswith(start)]


def keys(session: OfferAnswer) -> tuple[Suite, bytes, bytes] | None:
    agreed = session.agreed
    assert agreed is not None
    if agreed.srtp is None:
        return None
    assert isinstance(agreed.srtp, SdesKeys)
    return agreed.srtp.suite, agreed.srtp.send, agreed.srtp.receive


def assert_shared(one: OfferAnswer, other: OfferAnswer) -> None:
    ours, theirs = keys(one), keys(other)
    assert ours is not None
    assert theirs is not None
    assert (ours[0], ours[1], ours[2]) == (theirs[0], theirs[2], theirs[1])


@pytest.mark.parametrize("policy", ["off", "preferred", "required"])
def test_a_secure_offer_is_answered_with_its_transport_and_a_key_of_ours(policy: SrtpPolicy) -> None:
    session = side(policy)
    answer = session.receive_offer(secure(CRYPTO))
    assert lines_of(answer, "m=") == ["m=audio 30000 RTP/SAVP 0 101"]
    (line,) = lines_of(answer, "a=crypto")
    assert line.startswith(f"a=crypto:1 {CM_80} inline:")
    assert KEY_TEXT not in line
    found = keys(session)
    assert found is not None
    assert found[0] is Suite.AES_CM_128_HMAC_SHA1_80
    assert found[2] == KEY


def test_savpf_is_answered_with_savpf() -> None:
    answer = side().receive_offer(secure(CRYPTO).replace(b"SAVP", b"SAVPF"))
    assert lines_of(answer, "m=") == ["m=audio 30000 RTP/SAVPF 0 101"]


def test_the_first_usable_line_of_an_offer_is_accepted() -> None:
    offer = secure(
        f"a=crypto:1 F8_128_HMAC_SHA1_80 inline:{OTHER_TEXT}",
        f"a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:{KEY_TEXT}",
        f"a=crypto:3 {CM_80} inline:{OTHER_TEXT}",
    )
    (line,) = lines_of(side().receive_offer(offer), "a=crypto")
    assert line.startswith("a=crypto:2 AES_CM_128_HMAC_SHA1_32 ")


@pytest.mark.parametrize("more", [(), (f"a=crypto:1 {CM_80} inline:AAAA",), ("a=crypto:",)])
def test_a_secure_offer_without_a_usable_key_gets_488(more: tuple[str, ...]) -> None:
    session = side()
    with pytest.raises(OfferRejected) as caught:
        session.receive_offer(secure(*more))
    assert caught.value.status == 488
    assert ("306" in str(caught.value.warning)) == bool(more)
    assert session.agreed is None
    with pytest.raises(OfferRejected):
        check_offer(secure(*more), [PCMU], keying=keying())


def test_keys_beside_plain_audio_are_taken_up() -> None:
    session = side()
    answer = session.receive_offer(pcmu_offer(CRYPTO))
    assert lines_of(answer, "m=") == ["m=audio 30000 RTP/AVP 0 101"]
    assert len(lines_of(answer, "a=crypto")) == 1
    assert keys(session) is not None


def test_broken_keys_beside_plain_audio_leave_it_plain() -> None:
    session = side("preferred")
    answer = session.receive_offer(pcmu_offer(f"a=crypto:1 {CM_80} inline:AAAA"))
    assert lines_of(answer, "a=crypto") == []
    assert keys(session) is None


def test_plain_audio_is_refused_where_srtp_is_required() -> None:
    with pytest.raises(OfferRejected) as caught:
        side("required").receive_offer(pcmu_offer())
    assert caught.value.status == 488
    with pytest.raises(OfferRejected):
        check_offer(pcmu_offer(), [PCMU], keying=keying("required"))


def test_the_secure_one_of_two_lines_is_taken_where_srtp_is_required() -> None:
    both = pcmu_offer("m=audio 40002 RTP/SAVP 0", CRYPTO)
    answer = side("required").receive_offer(both)
    assert lines_of(answer, "m=") == ["m=audio 0 RTP/AVP 0 101", "m=audio 30000 RTP/SAVP 0"]


def test_no_keys_are_offered_unless_asked_for() -> None:
    offer = side("off").offer()
    assert lines_of(offer, "a=crypto") == []
    assert lines_of(offer, "m=") == ["m=audio 30000 RTP/AVP 0 101"]


@pytest.mark.parametrize(("policy", "transport"), [("preferred", "RTP/AVP"), ("required", "RTP/SAVP")])
def test_both_sides_have_the_same_keys_after_an_offer_of_ours(policy: SrtpPolicy, transport: str) -> None:
    ours, theirs = side(policy), side("off", "theirs")
    offer = ours.offer()
    assert lines_of(offer, "m=") == [f"m=audio 30000 {transport} 0 101"]
    assert len(lines_of(offer, "a=crypto")) == 3
    assert ours.offer() == offer
    ours.receive_answer(theirs.receive_offer(offer))
    assert_shared(ours, theirs)


def test_a_plain_answer_to_preferred_makes_a_plain_call() -> None:
    ours = side("preferred")
    ours.offer()
    ours.receive_answer(pcmu_offer())
    assert keys(ours) is None
    assert lines_of(ours.offer(), "a=crypto") == []


@pytest.mark.parametrize(
    "answer",
    [
        pcmu_offer(),
        pcmu_offer(CRYPTO),
        secure(),
        secure(CRYPTO),
        secure(f"a=crypto:3 {CM_80} inline:AAAA"),
        secure(f"a=crypto:9 {CM_80} inline:{KEY_TEXT}"),
    ],
)
def test_an_answer_that_is_plain_or_fits_no_key_of_ours_is_rejected(answer: bytes) -> None:
    ours = side("required")
    ours.offer()
    with pytest.raises(AnswerRejected) as caught:
        ours.receive_answer(answer)
    assert KEY_TEXT not in str(caught.value)
    assert ours.agreed is None


def test_broken_keys_in_an_answer_to_preferred_are_not_taken_for_plain_audio() -> None:
    ours = side("preferred")
    ours.offer()
    with pytest.raises(AnswerRejected):
        ours.receive_answer(pcmu_offer(CRYPTO))


def test_keys_that_nobody_asked_for_are_ignored_in_an_answer() -> None:
    ours = side("off")
    ours.offer()
    ours.receive_answer(pcmu_offer(CRYPTO))
    assert keys(ours) is None


@pytest.mark.parametrize("offers_first", [True, False])
def test_a_hold_keeps_transport_and_keys(offers_first: bool) -> None:
    ours, theirs = side("required"), side("required", "theirs")
    first, second = (ours, theirs) if offers_first else (theirs, ours)
    first.receive_answer(second.receive_offer(first.offer()))
    before = keys(ours)
    ours.hold = True
    offer = ours.offer()
    assert len(lines_of(offer, "a=crypto")) == 1
    ours.receive_answer(theirs.receive_offer(offer))
    assert keys(ours) == before
    assert_shared(ours, theirs)
    ours.receive_answer(theirs.receive_offer(ours.refresh_offer()))
    assert keys(ours) == before
    assert_shared(ours, theirs)


def test_a_new_key_of_the_peer_gets_a_new_one_of_ours() -> None:
    session = side()
    first = session.receive_offer(secure(CRYPTO))
    assert session.receive_offer(secure(CRYPTO)) == first
    before = keys(session)
    second = session.receive_offer(secure(OTHER))
    after = keys(session)
    assert before is not None
    assert after is not None
    assert before[1] != after[1]
    assert after[2] != KEY
    assert lines_of(second, "a=crypto") != lines_of(first, "a=crypto")


def test_an_answer_may_bring_a_new_key_of_the_peer_alone() -> None:
    ours = side("required")
    offer = ours.offer()
    ours.receive_answer(secure(f"a=crypto:3 {CM_80} inline:{KEY_TEXT}"))
    before = keys(ours)
    assert lines_of(offer, "a=crypto:3") == lines_of(ours.offer(), "a=crypto")
    ours.receive_answer(secure(f"a=crypto:3 {CM_80} inline:{OTHER_TEXT}"))
    after = keys(ours)
    assert before is not None
    assert after is not None
    assert before[1] == after[1]
    assert before[2] != after[2]


def test_a_call_can_become_secure_and_plain_again() -> None:
    session = side()
    session.receive_offer(pcmu_offer())
    assert keys(session) is None
    session.receive_offer(secure(CRYPTO))
    assert keys(session) is not None
    answer = session.receive_offer(pcmu_offer())
    assert keys(session) is None
    assert lines_of(answer, "a=crypto") == []


def test_a_refused_offer_in_a_session_leaves_its_keys() -> None:
    session = side("required")
    session.receive_offer(secure(CRYPTO))
    before = keys(session)
    with pytest.raises(OfferRejected) as caught:
        session.receive_offer(pcmu_offer())
    assert caught.value.status == 488
    assert keys(session) == before


def test_a_secure_session_that_began_beside_plain_audio_does_not_end_plain_where_srtp_is_required() -> None:
    session = side("required")
    session.receive_offer(pcmu_offer(CRYPTO))
    session.offer()
    with pytest.raises(AnswerRejected):
        session.receive_answer(pcmu_offer())
    assert keys(session) is not None


def test_each_fork_has_its_own_key_and_the_offer_is_one() -> None:
    ours = side("required")
    offer = ours.offer()
    one, other = side("off", "one"), side("off", "other")
    forks = Forks(ours)
    forks.receive_answer("a", one.receive_offer(offer))
    assert_shared(ours, one)
    forks.receive_answer("b", other.receive_offer(offer))
    assert_shared(ours, other)
    forks.settle("a", None)
    assert_shared(ours, one)


T140 = b"m=text 40002 RTP/AVP 98\r\na=rtpmap:98 t140/1000\r\n"


def test_text_in_the_clear_is_not_taken_beside_protected_audio() -> None:
    session = side("off", text=True)
    answer = session.receive_offer(secure(CRYPTO) + T140)
    assert lines_of(answer, "m=text") == ["m=text 0 RTP/AVP 0"]
    assert session.agreed is not None
    assert session.agreed.text is None


@pytest.mark.parametrize("policy", ["preferred", "required"])
def test_text_is_protected_as_the_audio_is_with_keys_of_its_own(policy: SrtpPolicy) -> None:
    ours, theirs = side(policy, text=True), side("off", "theirs", text=True)
    offer = ours.offer()
    ours.receive_answer(theirs.receive_offer(offer))
    assert ours.agreed is not None
    assert theirs.agreed is not None
    assert ours.agreed.text is not None
    assert theirs.agreed.text is not None
    mine, other = ours.agreed.text.srtp, theirs.agreed.text.srtp
    assert isinstance(mine, SdesKeys)
    assert isinstance(other, SdesKeys)
    assert isinstance(ours.agreed.srtp, SdesKeys)
    assert (mine.send, mine.receive) == (other.receive, other.send)
    assert mine.send != ours.agreed.srtp.send
    again = ours.offer()
    assert len(lines_of(again, "a=crypto")) == 2
    theirs.receive_offer(again)
    assert theirs.agreed.text.srtp == other


def test_text_that_the_answer_leaves_in_the_clear_is_not_used_beside_protected_audio() -> None:
    ours, theirs = side("preferred", text=True), side("off", "theirs", text=True)
    lines = theirs.receive_offer(ours.offer()).split(b"\r\n")
    at = next(index for index, line in enumerate(lines) if line.startswith(b"m=text"))
    plain = [line for index, line in enumerate(lines) if index < at or not line.startswith(b"a=crypto")]
    agreed = ours.receive_answer(b"\r\n".join(plain))
    assert agreed.srtp is not None
    assert agreed.text is None


def test_text_with_keys_is_taken_beside_plain_audio() -> None:
    session = side("off", text=True)
    session.receive_offer(pcmu_offer() + T140.replace(b"AVP", b"SAVP") + CRYPTO.encode() + b"\r\n")
    assert session.agreed is not None
    assert session.agreed.text is not None
    assert session.agreed.text.srtp is not None
    assert session.agreed.srtp is None


def test_who_has_no_keys_refuses_secure_transports() -> None:
    session = OfferAnswer(address="192.0.2.1", rtp_port=30000, codecs=[PCMU], session_id=7)
    with pytest.raises(OfferRejected):
        session.receive_offer(secure(CRYPTO))
    assert lines_of(session.receive_offer(pcmu_offer(CRYPTO)), "a=crypto") == []


def test_no_representation_of_a_session_shows_a_key() -> None:
    session = side()
    session.receive_offer(secure(CRYPTO))
    assert session.agreed is not None
    assert session.agreed.srtp is not None
    assert repr(KEY)[2:-1] not in repr(session.agreed)
    assert "send" not in repr(session.agreed.srtp)
