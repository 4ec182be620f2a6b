import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.rtp.rtcp import (
    Goodbye,
    Report,
    ReportBlock,
    RtcpPacket,
    SenderInfo,
    SourceDescription,
    build_rtcp,
    parse_rtcp,
)

u32 = st.integers(0, 0xFFFF_FFFF)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
blocks = st.builds(
    ReportBlock,
    ssrc=u32,
    fraction_lost=st.integers(0, 255),
    cumulative_lost=st.integers(-0x80_0000, 0x7F_FFFF),
    highest_sequence=u32,
    jitter=u32,
    last_report=u32,
    delay_since_last_report=u32,
)
reports = st.builds(
    Report,
    ssrc=u32,
    sender=st.none() | st.builds(SenderInfo, st.integers(0, 2**64 - 1), u32, u32, u32),
    blocks=st.lists(blocks, max_size=31).map(tuple),
)
descriptions = st.builds(SourceDescription, st.lists(st.tuples(u32, texts), max_size=5).map(tuple))
goodbyes = st.builds(Goodbye, st.lists(u32, max_size=31).map(tuple), texts)
compounds = st.lists(reports | descriptions | goodbyes, min_size=1, max_size=5)

RECEIVER_REPORT = bytes.fromhex(
    "81c90007 00000001"  # one block, from source 1
    "00000002 40fffffe 00010005 00000010 12345678 00010000"
)


def test_receiver_report_fields_are_read_from_their_places() -> None:
    block = ReportBlock(2, 0x40, -2, 0x10005, 0x10, 0x12345678, 0x10000)
    assert parse_rtcp(RECEIVER_REPORT) == (Report(1, None, (block,)),)


def test_sender_report_is_laid_out_as_the_standard_says() -> None:
    report = Report(0x01020304, SenderInfo(0x1122334455667788, 9, 10, 1600))
    assert build_rtcp([report]) == bytes.fromhex(
        "80c80006 01020304 1122334455667788 00000009 0000000a 00000640"
    )


def test_source_description_ends_with_zeros_up_to_a_word() -> None:
    built = build_rtcp([SourceDescription(((1, "ab"), (2, "abcd")))])
    assert built == bytes.fromhex("82ca0006 00000001 01026162 00000000 00000002 0104616263640000")


def test_goodbye_bears_its_reason() -> None:
    assert build_rtcp([Goodbye((7,), "bye")]) == bytes.fromhex("81cb0002 00000007 03627965")


@given(compounds)
def test_any_compound_survives_writing_and_reading(packets: list[RtcpPacket]) -> None:
    assert parse_rtcp(build_rtcp(packets)) == tuple(packets)


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused_without_an_error(data: bytes) -> None:
    assert isinstance(parse_rtcp(data), tuple | None)


@given(compounds, st.data())
def test_damaged_compound_is_read_or_refused_without_an_error(
    packets: list[RtcpPacket], data: st.DataObject
) -> None:
    damaged = bytearray(build_rtcp(packets))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, min(len(damaged), 40) - 1))] = data.draw(st.integers(0, 255))
    cut = damaged[: data.draw(st.integers(0, len(damaged)))]
    assert isinstance(parse_rtcp(bytes(cut)), tuple | None)


@given(compounds)
def test_bytes_missing_at_the_end_are_noticed(packets: list[RtcpPacket]) -> None:
    assert parse_rtcp(build_rtcp(packets)[:-1]) is None


def test_padding_of_the_last_packet_is_left_out() -> None:
    padded = b"\xa1\xc9\x00\x08" + RECEIVER_REPORT[4:] + b"\x00\x00\x00\x04"
    assert parse_rtcp(padded) == parse_rtcp(RECEIVER_REPORT)


def test_packets_of_other_types_are_left_out() -> None:
    application = bytes.fromhex("80cc0002 00000001 6e616d65")
    feedback = bytes.fromhex("81cd0003 00000001 00000002 00010000")
    assert parse_rtcp(application + RECEIVER_REPORT + feedback) == parse_rtcp(RECEIVER_REPORT)


def test_items_other_than_the_name_are_left_out() -> None:
    tool_then_name = bytes.fromhex("81ca0004 00000001 0601 78 0103 616263 00 000000")
    assert parse_rtcp(tool_then_name) == (SourceDescription(((1, "abc"),)),)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\x81",
        b"\x41" + RECEIVER_REPORT[1:],
        b"\x82" + RECEIVER_REPORT[1:],
        RECEIVER_REPORT[:2] + b"\xff\xff" + RECEIVER_REPORT[4:],
        b"\xa1\xc9\x00\x08" + RECEIVER_REPORT[4:] + b"\x00\x00\x00\x00",
        b"\xa1\xc9\x00\x08" + RECEIVER_REPORT[4:] + b"\x00\x00\x00\x03",
        b"\xa1\xc9\x00\x08" + RECEIVER_REPORT[4:] + b"\x00\x00\x00\xfc",
        b"\xa0\xc9\x00\x00",
        bytes.fromhex("80c80001 00000001"),
        bytes.fromhex("81ca0001 00000001"),
        bytes.fromhex("81ca0000"),
        bytes.fromhex("81ca0002 00000001 01ff6162"),
        bytes.fromhex("81ca0002 00000001 01026162"),
        bytes.fromhex("82cb0001 00000001"),
        bytes.fromhex("81cb0002 00000001 ff626162"),
        b"\xa1\xc9\x00\x08" + RECEIVER_REPORT[4:] + b"\x00\x00\x00\x04" + RECEIVER_REPORT,
    ],
    ids=[
        "empty",
        "one byte",
        "version 1",
        "block missing",
        "length beyond the datagram",
        "padding of zero",
        "padding of three",
        "padding beyond the packet",
        "padding without a body",
        "sender information missing",
        "chunk without end",
        "chunk missing",
        "item beyond the packet",
        "items without end",
        "goodbye source missing",
        "reason beyond the packet",
        "padding before the last packet",
    ],
)
def test_length_that_does_not_add_up_is_refused(damaged: bytes) -> None:
    assert parse_rtcp(damaged) is None


def test_name_too_long_for_its_field_is_cut_at_a_character() -> None:
    built = build_rtcp([SourceDescription(((1, "ä" * 200),))])
    assert parse_rtcp(built) == (SourceDescription(((1, "ä" * 127),)),)


def test_name_that_is_not_utf_8_is_still_read() -> None:
    built = struct.pack("!BBHI", 0x81, 202, 2, 1) + b"\x01\x01\xff\x00"
    assert parse_rtcp(built) == (SourceDescription(((1, "\N{REPLACEMENT CHARACTER}"),)),)
