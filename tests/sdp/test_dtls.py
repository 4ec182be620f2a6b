"""Offers and answers with certificates, and ICE beside them: what is taken, said, and agreed on."""

from __future__ import annotations

import hashlib

import pytest

from tests.sdp.offers import PCMU, pcmu_offer
from tests.sdp.test_crypto import CM_80, KEY_TEXT
from vb.choices import SrtpKeying, SrtpPolicy
from vb.sdp import AnswerRejected, OfferAnswer, OfferRejected
from vb.sdp.crypto import SdesKeys
from vb.sdp.dtls import DtlsKeys
from vb.sdp.fingerprint import Fingerprint
from vb.sdp.ice import Credentials, LocalIce
from vb.sdp.keying import Keying

OURS = Fingerprint("sha-256", hashlib.sha256(b"ours").digest())
THEIRS = Fingerprint("sha-256", hashlib.sha256(b"theirs").digest())
OTHER = Fingerprint("sha-256", hashlib.sha256(b"other").digest())
CERTIFICATE = (f"a=fingerprint:{THEIRS.to_text()}", "a=setup:actpass", "a=rtcp-mux")
CRYPTO = f"a=crypto:1 {CM_80} inline:{KEY_TEXT}"
PASSWORD = "p" * 22
ICE = ("a=rtcp-mux", "a=ice-ufrag:peer", f"a=ice-pwd:{PASSWORD}")
T140 = ("m=text 40002 UDP/TLS/RTP/SAVP 98", "a=rtpmap:98 t140/1000")


class Agent:
    """Answers as an ICE agent, and counts how often it was asked."""

    def __init__(self) -> None:
        self.heard: list[Credentials] = []

    def answer_ice(self, theirs: Credentials) -> LocalIce:
        self.heard.append(theirs)
        candidate = "1 1 udp 2130706431 192.0.2.1 30000 typ host"
        return LocalIce(Credentials("ours", "o" * 22), (candidate,))


def side(
    policy: SrtpPolicy = "off",
    offers: SrtpKeying = "dtls",
    *,
    fingerprint: Fingerprint | None = OURS,
    text: bool = False,
    ice: Agent | None = None,
) -> OfferAnswer:
    keying = Keying(policy, lambda size: bytes(size), fingerprint=fingerprint, offers=offers)
    keying.ice = ice
    made = OfferAnswer(address="192.0.2.1", rtp_port=30000, codecs=[PCMU], session_id=7, keying=keying)
    if text:
        made.text_port = 30002
    return made


def dtls_offer(*more: str, protocol: bytes = b"UDP/TLS/RTP/SAVP") -> bytes:
    return pcmu_offer(*(more or CERTIFICATE)).replace(b"RTP/AVP", protocol)


def lines_of(description: bytes, start: str) -> list[str]:
    return [line for line in description.decode().split("\r\n") if line.startswith(start)]


def association(session: OfferAnswer) -> DtlsKeys:
    assert session.agreed is not None
    assert isinstance(session.agreed.srtp, DtlsKeys)
    return session.agreed.srtp


@pytest.mark.parametrize("protocol", [b"UDP/TLS/RTP/SAVP", b"UDP/TLS/RTP/SAVPF", b"RTP/SAVPF", b"RTP/AVP"])
def test_an_offer_with_a_certificate_is_answered_with_its_transport_and_ours(protocol: bytes) -> None:
    session = side()
    answer = session.receive_offer(dtls_offer(protocol=protocol))
    assert lines_of(answer, "m=") == [f"m=audio 30000 {protocol.decode()} 0 101"]
    assert lines_of(answer, "a=fingerprint") == [f"a=fingerprint:{OURS.to_text()}"]
    assert lines_of(answer, "a=setup") == ["a=setup:passive"]
    assert association(session) == DtlsKeys((THEIRS,), "server")


@pytest.mark.parametrize(
    ("theirs", "ours", "role"), [("active", "passive", "server"), ("passive", "active", "client")]
)
def test_the_peer_may_choose_who_begins(theirs: str, ours: str, role: str) -> None:
    session = side()
    answer = session.receive_offer(dtls_offer(CERTIFICATE[0], f"a=setup:{theirs}"))
    assert lines_of(answer, "a=setup") == [f"a=setup:{ours}"]
    assert association(session).role == role


@pytest.mark.parametrize(
    ("more", "warning"),
    [
        (("a=setup:actpass",), "304"),
        (("a=fingerprint:sha-256 00:11", "a=setup:actpass"), "306"),
        (("a=fingerprint:md5 00:11", "a=setup:actpass"), "306"),
        ((CERTIFICATE[0], "a=setup:holdconn"), "306"),
    ],
)
def test_a_certificate_that_cannot_be_used_gets_488(more: tuple[str, ...], warning: str) -> None:
    session = side()
    with pytest.raises(OfferRejected) as caught:
        session.receive_offer(dtls_offer(*more))
    assert caught.value.status == 488
    assert warning in str(caught.value.warning)
    assert session.agreed is None


def test_who_has_no_certificate_refuses_dtls() -> None:
    with pytest.raises(OfferRejected):
        side(fingerprint=None).receive_offer(dtls_offer())


def test_the_certificate_may_stand_at_the_session() -> None:
    session = side()
    head, media = dtls_offer("a=rtcp-mux").split(b"m=", 1)
    session.receive_offer(head + "\r\n".join((*CERTIFICATE[:2], "")).encode() + b"m=" + media)
    assert association(session).fingerprints == (THEIRS,)


@pytest.mark.parametrize(("protocol", "kind"), [(b"RTP/AVP", DtlsKeys), (b"RTP/SAVP", SdesKeys)])
def test_of_two_kinds_of_keys_the_transport_or_the_safer_one_decides(protocol: bytes, kind: type) -> None:
    session = side()
    session.receive_offer(dtls_offer(*CERTIFICATE, CRYPTO, protocol=protocol))
    assert session.agreed is not None
    assert isinstance(session.agreed.srtp, kind)


@pytest.mark.parametrize(
    ("policy", "transport"), [("preferred", "RTP/AVP"), ("required", "UDP/TLS/RTP/SAVP")]
)
def test_an_offer_of_ours_brings_the_certificate_and_no_key(policy: SrtpPolicy, transport: str) -> None:
    ours, theirs = side(policy), side(fingerprint=THEIRS)
    offer = ours.offer()
    assert lines_of(offer, "m=") == [f"m=audio 30000 {transport} 0 101"]
    assert lines_of(offer, "a=crypto") == []
    assert lines_of(offer, "a=setup") == ["a=setup:actpass"]
    ours.receive_answer(theirs.receive_offer(offer))
    assert association(ours) == DtlsKeys((THEIRS,), "client")
    assert association(theirs) == DtlsKeys((OURS,), "server")


@pytest.mark.parametrize(
    "answer",
    [
        pcmu_offer(),
        pcmu_offer(*CERTIFICATE),
        dtls_offer("a=setup:active"),
        dtls_offer(CERTIFICATE[0], "a=setup:actpass"),
        dtls_offer(CRYPTO, protocol=b"RTP/SAVP"),
    ],
)
def test_an_answer_without_a_usable_certificate_is_rejected(answer: bytes) -> None:
    ours = side("required")
    ours.offer()
    with pytest.raises(AnswerRejected):
        ours.receive_answer(answer)
    assert ours.agreed is None


def test_a_plain_answer_to_preferred_makes_a_plain_call() -> None:
    ours = side("preferred")
    ours.offer()
    ours.receive_answer(pcmu_offer())
    assert ours.agreed is not None
    assert ours.agreed.srtp is None
    assert lines_of(ours.offer(), "a=fingerprint") == []


@pytest.mark.parametrize("offers_first", [True, False])
def test_a_hold_keeps_the_association(offers_first: bool) -> None:
    ours, theirs = side("required"), side("required", fingerprint=THEIRS)
    first, second = (ours, theirs) if offers_first else (theirs, ours)
    first.receive_answer(second.receive_offer(first.offer()))
    before = association(ours), association(theirs)
    ours.hold = True
    offer = ours.offer()
    assert lines_of(offer, "a=setup") == ["a=setup:actpass"]
    ours.receive_answer(theirs.receive_offer(offer))
    assert (association(ours), association(theirs)) == before


def test_another_certificate_in_a_session_makes_another_association() -> None:
    session = side()
    session.receive_offer(dtls_offer())
    session.receive_offer(dtls_offer(f"a=fingerprint:{OTHER.to_text()}", "a=setup:passive"))
    assert association(session) == DtlsKeys((OTHER,), "client")


def test_text_has_an_association_of_its_own() -> None:
    session = side(text=True)
    answer = session.receive_offer(dtls_offer(*CERTIFICATE, *T140, *CERTIFICATE))
    assert lines_of(answer, "m=text") == ["m=text 30002 UDP/TLS/RTP/SAVP 98"]
    assert len(lines_of(answer, "a=fingerprint")) == 2
    assert session.agreed is not None
    assert session.agreed.text is not None
    assert session.agreed.text.srtp == DtlsKeys((THEIRS,), "server")


@pytest.mark.parametrize("policy", ["off", "preferred"])
def test_ice_is_answered_as_a_lite_agent_with_keys_or_without(policy: SrtpPolicy) -> None:
    agent = Agent()
    session = side(policy, ice=agent)
    answer = session.receive_offer(pcmu_offer(*ICE))
    assert lines_of(answer, "a=ice") == ["a=ice-lite", "a=ice-ufrag:ours", f"a=ice-pwd:{'o' * 22}"]
    assert lines_of(answer, "a=candidate") == ["a=candidate:1 1 udp 2130706431 192.0.2.1 30000 typ host"]
    assert session.agreed is not None
    assert session.agreed.ice == Credentials("peer", PASSWORD) == agent.heard[0]
    again = session.offer()
    assert lines_of(again, "a=ice") == lines_of(answer, "a=ice")


def test_an_address_that_ice_is_still_to_find_is_no_hold() -> None:
    session = side(ice=Agent())
    offer = pcmu_offer(*ICE).replace(b"c=IN IP4 192.0.2.7", b"c=IN IP4 0.0.0.0")
    assert b"0.0.0.0" in offer
    answer = session.receive_offer(offer)
    assert lines_of(answer, "a=sendrecv")
    assert session.agreed is not None
    assert not session.agreed.remote_held


@pytest.mark.parametrize("more", [ICE[1:], ICE[:2], (*ICE[:1], "a=ice-ufrag:x", ICE[2])])
def test_ice_that_cannot_be_used_is_left_out_of_the_answer(more: tuple[str, ...]) -> None:
    agent = Agent()
    session = side(ice=agent)
    assert lines_of(session.receive_offer(pcmu_offer(*more)), "a=ice") == []
    assert agent.heard == []


def test_another_lite_agent_is_met_without_ice() -> None:
    session = side(ice=Agent())
    head, media = pcmu_offer(*ICE).split(b"m=", 1)
    assert lines_of(session.receive_offer(head + b"a=ice-lite\r\nm=" + media), "a=ice") == []


@pytest.mark.parametrize(
    ("address", "mismatch"),
    [("192.0.2.7 40000", False), ("192.0.2.7 40002", True), ("192.0.2.9 40000", True)],
)
def test_an_address_that_is_no_candidate_is_told_as_a_mismatch(address: str, mismatch: bool) -> None:
    session = side(ice=Agent())
    answer = session.receive_offer(pcmu_offer(*ICE, f"a=candidate:1 1 udp 1 {address} typ host"))
    assert bool(lines_of(answer, "a=ice-mismatch")) == mismatch
    assert session.agreed is not None
    assert (session.agreed.ice is None) == mismatch


def test_a_peer_may_end_ice_with_a_later_offer() -> None:
    session = side(ice=Agent())
    session.receive_offer(pcmu_offer(*ICE))
    assert lines_of(session.receive_offer(pcmu_offer()), "a=ice") == []
    assert session.agreed is not None
    assert session.agreed.ice is None
