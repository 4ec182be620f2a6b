"""Whatever a peer says is answered, applied or refused, and nothing else happens."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sdp.offers import (
    leg,
    lines,
    offer,
    pcmu_offer,
)
from vb.sdp import (
    AnswerRejected,
    CodecNotOffered,
    OfferRejected,
    SdpParseError,
)

_ATTRIBUTE = st.sampled_from(
    [
        "a=sendonly",
        "a=inactive",
        "a=recvonly",
        "a=rtcp-mux",
        "a=rtcp:7",
        "a=mid:x",
        "a=ptime:60",
        "a=maxptime:10",
        "a=rtpmap:96 opus/48000/2",
        "a=rtpmap:101 telephone-event/8000",
        "a=rtpmap:97 telephone-event/48000",
        "a=fmtp:96 stereo=1",
        "c=IN IP4 0.0.0.0",
        "c=IN IP6 ::1",
        "m=audio 5000 RTP/AVP 0 8 9 96 97 101",
        "m=audio 5002 RTP/SAVP 0",
        "m=audio 0 RTP/AVP 8",
        "m=audio 5004 RTP/AVP 111",
        "m=video 5006 RTP/AVP 96",
        "m=text 5008 RTP/AVP 98",
    ]
)
_OFFERS = st.lists(_ATTRIBUTE, min_size=1, max_size=12).map(lambda rows: offer(*rows))


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(_OFFERS, st.sampled_from([None, "PCMU", "opus"]), st.booleans()), max_size=4))
def test_any_series_of_offers_is_answered_line_by_line_or_refused(
    series: list[tuple[bytes, str | None, bool]],
) -> None:
    ours = leg()
    for data, codec, hold in series:
        ours.hold = hold
        before = ours.local_description
        try:
            answer = ours.receive_offer(data, codec=codec)
        except (OfferRejected, SdpParseError, CodecNotOffered):
            assert ours.local_description == before
            continue
        media = [line.split()[0] for line in lines(answer) if line[0] == "m"]
        assert media == [line.split()[0] for line in lines(data) if line[0] == "m"]
        assert sum(line.startswith("m=audio 30000 ") for line in lines(answer)) == 1
        agreed = ours.agreed
        assert agreed is not None
        assert len(agreed.receive) == 1
        assert not (hold and agreed.direction in ("sendrecv", "recvonly"))
        assert not (agreed.remote_held and agreed.direction in ("sendrecv", "sendonly"))


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 20), st.binary(max_size=10))
def test_any_damaged_offer_is_answered_or_refused(at: int, cut: int, inserted: bytes) -> None:
    whole = pcmu_offer("a=rtcp:40001 IN IP4 192.0.2.7", "a=mid:0", "m=video 5006 RTP/AVP 96")
    data = whole[:at] + inserted + whole[at + cut :]
    try:
        leg().receive_offer(data)
    except (OfferRejected, SdpParseError, CodecNotOffered):
        return


@settings(deadline=None)
@given(_OFFERS)
def test_any_answer_is_applied_or_rejected(data: bytes) -> None:
    ours = leg()
    ours.offer()
    try:
        agreed = ours.receive_answer(data)
    except AnswerRejected:
        assert ours.agreed is None
        return
    assert agreed.send_codec in ours.codecs
