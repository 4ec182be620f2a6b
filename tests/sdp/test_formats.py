"""Payload formats: what a media line means, and which types we give away."""

import pytest

from tests.sdp.offers import G722, OPUS, PCMA, PCMU, offer
from vb.codecs.base import CODECS
from vb.sdp import parse_sdp
from vb.sdp.formats import (
    UNMAPPED,
    Format,
    assign_types,
    bind_types,
    choose_event,
    codec_format,
    event_format,
    read_formats,
    wanted_formats,
    within,
)


def formats_of(*media_lines: str) -> tuple[Format, ...]:
    return read_formats(parse_sdp(offer(*media_lines)).media[0], UNMAPPED)


def codecs_of(*media_lines: str) -> list[str | None]:
    return [item.codec.name if item.codec else None for item in formats_of(*media_lines)]


def test_static_types_need_no_rtpmap() -> None:
    assert codecs_of("m=audio 9 RTP/AVP 9 8 0") == ["G722", "PCMA", "PCMU"]


def test_type_111_without_rtpmap_is_opus() -> None:
    assert codecs_of("m=audio 9 RTP/AVP 111") == ["opus"]


def test_type_111_with_rtpmap_is_what_it_says() -> None:
    assert codecs_of("m=audio 9 RTP/AVP 111", "a=rtpmap:111 speex/16000") == [None]


def test_dynamic_type_without_rtpmap_means_nothing() -> None:
    assert formats_of("m=audio 9 RTP/AVP 101") == ()


def test_names_match_in_any_case() -> None:
    assert codecs_of("m=audio 9 RTP/AVP 96", "a=rtpmap:96 pcma/8000") == ["PCMA"]


@pytest.mark.parametrize("mapping", ["9 G722/16000", "9 g722/16000/1", "109 G722/16000"])
def test_g722_counts_8_khz_whatever_its_mapping_says(mapping: str) -> None:
    number = mapping.split()[0]
    (found,) = formats_of(f"m=audio 9 RTP/AVP {number}", f"a=rtpmap:{mapping}")
    assert (found.codec, found.clock_rate_hz) == (G722, 8000)


def test_telephone_events_without_a_clock_count_8_khz() -> None:
    (found,) = formats_of("m=audio 9 RTP/AVP 101", "a=rtpmap:101 telephone-event")
    assert (found.is_event, found.clock_rate_hz) == (True, 8000)


def test_a_slash_before_no_channels_says_nothing() -> None:
    (found,) = formats_of("m=audio 9 RTP/AVP 101", "a=rtpmap:101 telephone-event/8000/")
    assert found.is_event


@pytest.mark.parametrize("mapping", ["opus/48000/1", "OPUS/48000"])
def test_opus_of_one_channel_is_opus(mapping: str) -> None:
    assert codecs_of("m=audio 9 RTP/AVP 96", f"a=rtpmap:96 {mapping}") == ["opus"]


def test_a_tab_parts_parameters_from_their_type() -> None:
    (found,) = formats_of("m=audio 9 RTP/AVP 96", "a=rtpmap:96\topus/48000/2", "a=fmtp:96\tuseinbandfec=1")
    assert found.fmtp == "useinbandfec=1"


@pytest.mark.parametrize("mapping", ["PCMU/16000", "PCMU/8000/2", "opus/16000/2"])
def test_other_clock_or_channels_are_another_codec(mapping: str) -> None:
    assert codecs_of("m=audio 9 RTP/AVP 96", f"a=rtpmap:96 {mapping}") == [None]


def test_opus_without_its_channel_count_is_still_opus() -> None:
    assert codecs_of("m=audio 9 RTP/AVP 96", "a=rtpmap:96 opus/48000") == ["opus"]


@pytest.mark.parametrize("bad", ["x PCMU/8000", "96", "96 PCMU", "96 PCMU/0", "96 PCMU/8000/0", "96 /8000"])
def test_broken_rtpmap_is_ignored(bad: str) -> None:
    assert codecs_of("m=audio 9 RTP/AVP 0 96", f"a=rtpmap:{bad}") == ["PCMU"]


def test_repeated_and_foreign_formats_are_dropped() -> None:
    assert codecs_of("m=audio 9 RTP/AVP 0 0 999 x 8") == ["PCMU", "PCMA"]


def test_fmtp_belongs_to_its_type() -> None:
    (opus,) = formats_of(
        "m=audio 9 RTP/AVP 96", "a=rtpmap:96 opus/48000/2", "a=fmtp:96 useinbandfec=1", "a=fmtp:97 x=1"
    )
    assert opus.fmtp == "useinbandfec=1"


def test_event_with_the_clock_of_the_codec_wins_over_a_lower_type() -> None:
    events = [event_format(96, 8000), event_format(110, 48000)]
    assert choose_event(events, 48000) == events[1]
    assert choose_event(events, 8000) == events[0]


def test_without_a_fitting_clock_the_lowest_event_type_is_taken() -> None:
    events = [event_format(101, 16000), event_format(97, 32000)]
    assert choose_event(events, 8000) == events[1]


def test_no_event_offered_is_none_chosen() -> None:
    assert choose_event([codec_format(PCMU)], 8000) is None


def test_event_with_a_senseless_clock_is_none() -> None:
    assert choose_event([event_format(101, 1)], 8000) is None


def test_events_at_48_khz_come_with_opus_only() -> None:
    assert [item.payload_type for item in wanted_formats([PCMU, G722])] == [0, 9, 101]
    assert [item.payload_type for item in wanted_formats([G722, OPUS, PCMU])] == [9, 111, 0, 100, 101]


def test_a_session_keeps_the_type_a_codec_had() -> None:
    bound = bind_types({}, [codec_format(OPUS, 96), event_format(111, 8000)])
    assigned = assign_types(wanted_formats([OPUS, PCMA]), bound)
    assert [(item.name, item.payload_type) for item in assigned] == [
        ("opus", 96),
        ("PCMA", 8),
        ("telephone-event", 100),
        ("telephone-event", 111),
    ]


def test_a_type_with_another_meaning_is_not_given_away_again() -> None:
    bound = bind_types({}, [Format(111, "iLBC", 8000), Format(96, "speex", 8000)])
    (opus, *_) = assign_types(wanted_formats([OPUS]), bound)
    assert opus.payload_type == 97


def test_types_stay_distinct_when_every_dynamic_one_is_bound() -> None:
    bound = bind_types({}, [Format(number, f"codec{number}", 8000) for number in range(128)])
    assigned = assign_types(wanted_formats([OPUS, G722, PCMU, PCMA]), bound)
    types = [item.payload_type for item in assigned]
    assert len(set(types)) == len(types) == 6
    assert all(35 <= number <= 63 or number >= 96 for number in types)


@pytest.mark.parametrize(
    ("fmtp", "bit_rate"),
    [
        ("maxplaybackrate=16000; MaxAverageBitrate = 20999;useinbandfec=1", 20_000),
        ("maxaveragebitrate=6000", 6000),
        ("maxaveragebitrate=5999", 0),
        ("maxaveragebitrate=510000", 0),
        ("maxaveragebitrate=-1;maxaveragebitrate;=;maxaveragebitrate=²0000", 0),
        (None, 0),
    ],
)
def test_opus_takes_no_more_bits_than_a_far_end_allows(fmtp: str | None, bit_rate: int) -> None:
    assert within(CODECS["opus"], fmtp).bit_rate == bit_rate
    assert within(CODECS["G722"], fmtp) == CODECS["G722"]
