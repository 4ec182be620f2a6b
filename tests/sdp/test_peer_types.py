"""Payload types of a peer's own description, which it may send by mistake."""

from tests.sdp.offers import G722, OPUS, PCMA, PCMU, leg, offer

OPUS_96 = (
    "m=audio 40000 RTP/AVP 96 97",
    "a=rtpmap:96 opus/48000/2",
    "a=rtpmap:97 telephone-event/48000",
)


def test_types_of_an_answer_are_heard_beside_ours() -> None:
    ours = leg([OPUS])
    ours.offer()
    agreed = ours.receive_answer(offer(*OPUS_96))
    assert agreed.receive == {111: OPUS, 96: OPUS}
    assert next(iter(agreed.receive)) == 111
    assert agreed.telephone_event_receive == {100: 48000, 101: 8000, 97: 48000}
    assert (agreed.send_payload_type, agreed.telephone_event_send) == (96, (97, 48000))


def test_our_meaning_of_a_type_wins() -> None:
    ours = leg([OPUS, PCMU])
    ours.offer()
    agreed = ours.receive_answer(
        offer(
            "m=audio 40000 RTP/AVP 101 111",
            "a=rtpmap:101 opus/48000/2",
            "a=rtpmap:111 telephone-event/8000",
        )
    )
    assert agreed.receive == {111: OPUS, 0: PCMU}
    assert agreed.telephone_event_receive == {100: 48000, 101: 8000}


def test_codecs_that_we_did_not_describe_are_not_heard() -> None:
    ours = leg([PCMU])
    ours.offer()
    assert ours.receive_answer(offer("m=audio 40000 RTP/AVP 0 8 9")).receive == {0: PCMU}
    theirs = leg([PCMU, PCMA, G722])
    theirs.receive_offer(offer("m=audio 40000 RTP/AVP 0 8 9"))
    assert theirs.agreed is not None
    assert theirs.agreed.receive == {0: PCMU}


def test_every_event_clock_of_an_offer_is_heard() -> None:
    ours = leg([OPUS])
    ours.receive_offer(
        offer(
            "m=audio 40000 RTP/AVP 96 97 98",
            "a=rtpmap:96 opus/48000/2",
            "a=rtpmap:97 telephone-event/8000",
            "a=rtpmap:98 telephone-event/48000",
        )
    )
    assert ours.agreed is not None
    assert ours.agreed.telephone_event_receive == {98: 48000, 97: 8000}


def test_a_codec_that_an_offer_lists_twice_is_heard_by_both_types() -> None:
    ours = leg([OPUS])
    ours.receive_offer(
        offer(
            "m=audio 40000 RTP/AVP 96 111",
            "a=rtpmap:96 opus/48000/2",
            "a=rtpmap:111 opus/48000/2",
        )
    )
    assert ours.agreed is not None
    assert ours.agreed.receive == {96: OPUS, 111: OPUS}


def test_events_are_not_heard_where_we_describe_none() -> None:
    ours = leg([PCMU])
    ours.receive_offer(offer("m=audio 40000 RTP/AVP 0"))
    assert ours.agreed is not None
    assert ours.agreed.telephone_event_receive == {}
