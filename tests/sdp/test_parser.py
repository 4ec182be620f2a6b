"""parse_sdp: what it accepts, what it refuses, and that nothing else ever comes out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sdp.offers import HEAD, pcmu_offer, sdp
from vb.sdp import SdpParseError, parse_sdp
from vb.sdp.parser import MAX_BYTES, MAX_FORMATS, MAX_LINES, MAX_MEDIA, decimal
from vb.sdp.session import Attribute, Connection, Line, MediaDescription, Origin, SessionDescription


def test_fields_of_a_usual_offer_are_read() -> None:
    description = parse_sdp(pcmu_offer("a=sendonly"))
    assert description.origin == Origin("-", "4711", "1", "IP4", "192.0.2.7")
    assert description.name == "call"
    assert description.connection == Connection("IP4", "192.0.2.7")
    assert description.other == (Line("t", "0 0"),)
    (media,) = description.media
    assert (media.media, media.port, media.protocol) == ("audio", 40000, "RTP/AVP")
    assert media.formats == ("0", "101")
    assert media.attribute("ptime") == "20"
    assert media.attribute("sendonly") == ""
    assert media.attribute("recvonly") is None


def test_bare_line_feeds_are_line_ends() -> None:
    data = pcmu_offer()
    assert parse_sdp(data.replace(b"\r\n", b"\n")) == parse_sdp(data)


def test_last_line_needs_no_end() -> None:
    data = pcmu_offer()
    assert parse_sdp(data[:-2]) == parse_sdp(data)
    assert parse_sdp(data[:-1]) == parse_sdp(data)


def test_blank_lines_are_skipped() -> None:
    data = pcmu_offer()
    assert parse_sdp(data.replace(b"t=0 0\r\n", b"t=0 0\r\n\r\n \r\n") + b"\r\n") == parse_sdp(data)


def test_unknown_lines_are_kept() -> None:
    description = parse_sdp(sdp(*HEAD, "x=tea", "m=audio 9 RTP/AVP 0", "y=two=2"))
    assert Line("x", "tea") in description.other
    assert description.media[0].other == (Line("y", "two=2"),)
    assert b"x=tea\r\n" in description.to_bytes()


def test_lines_are_written_in_the_order_of_the_standard() -> None:
    shuffled = sdp("v=0", "a=tool:x", "b=AS:64", "t=0 0", "c=IN IP4 192.0.2.7", "i=info", "s=-", HEAD[1])
    assert parse_sdp(shuffled).to_bytes() == sdp(
        "v=0", HEAD[1], "s=-", "i=info", "c=IN IP4 192.0.2.7", "b=AS:64", "t=0 0", "a=tool:x"
    )


def test_missing_name_and_timing_are_forgiven() -> None:
    description = parse_sdp(sdp("v=0", HEAD[1], "m=audio 9 RTP/AVP 0"))
    assert description.name == "-"
    assert description.other == ()


def test_user_name_of_the_origin_may_hold_spaces() -> None:
    origin = parse_sdp(sdp("v=0", "o=Big PBX 1 2 IN IP4 192.0.2.7", "s=-")).origin
    assert (origin.username, origin.session_id) == ("Big PBX", "1")


def test_text_that_is_not_utf8_comes_back_byte_for_byte() -> None:
    data = b"v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=caf\xe9\r\nt=0 0\r\n"
    assert parse_sdp(data).to_bytes() == data


def test_attribute_name_ignores_trailing_space() -> None:
    assert parse_sdp(pcmu_offer("a=sendonly ")).media[0].attribute("sendonly") == ""


def test_port_count_is_kept() -> None:
    data = sdp(*HEAD, "m=audio 40000/2 RTP/AVP 0")
    assert parse_sdp(data).media[0].port_count == 2
    assert parse_sdp(data).to_bytes() == data


def test_media_line_without_formats_is_read() -> None:
    assert parse_sdp(sdp(*HEAD, "m=video 0 RTP/AVP")).media[0].formats == ()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"rubbish",
        b"this is not sdp\r\n",
        b"v=1\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\n",
        b"o=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\n",
        b"m=audio 9 RTP/AVP 0\r\n",
        b"v=0\r\ns=-\r\n",
        sdp("v=0", HEAD[1], HEAD[1], "s=-"),
        sdp("v=0", "v=0", HEAD[1], "s=-"),
        sdp(*HEAD, " m=audio 9 RTP/AVP 0"),
        sdp(*HEAD, "m =audio 9 RTP/AVP 0"),
        sdp(*HEAD, "m=audio 9\0 RTP/AVP 0"),
        sdp(*HEAD, "\tc=IN IP4 192.0.2.8"),
        sdp(*HEAD, "a=one\rm=audio 9 RTP/AVP 0"),
        sdp(*HEAD, "a=one\0 c=IN IP4 192.0.2.8"),
        *[sdp(*HEAD, f"{start}video 5000 RTP/AVP 96") for start in ("\x0bm=", "\u00a0m=", "m ", "m:", '"m=')],
        sdp(*HEAD, "\x0bc=IN IP4 192.0.2.8"),
        sdp(*HEAD, "a=rtpmap:0 PCMU/8000\ra=inactive"),
        sdp(*HEAD, "a=inactive\0x"),
        sdp(*HEAD, " a=inactive"),
        sdp(*HEAD, "a =crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x"),
        sdp("v=0\0 ", HEAD[1], "s=-").replace(b"\r\n", b"\r"),
        sdp(*HEAD, "m=audio"),
        sdp(*HEAD, "m=audio 70000 RTP/AVP 0"),
        sdp(*HEAD, "m=audio -1 RTP/AVP 0"),
        sdp(*HEAD, "m=audio 9/0 RTP/AVP 0"),
        sdp(*HEAD, "m=audio \u0664\u0660 RTP/AVP 0"),
        sdp("v=0", HEAD[1], "s=-", "c=IN IP4"),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes) -> None:
    with pytest.raises(SdpParseError):
        parse_sdp(data)


@pytest.mark.parametrize(
    "line",
    ["generation 0 svn 16", " a=indented", "a", "=", "a =spaced", "a=one\rb=two", "a=o\0ne", "\0", "\ufeff"],
)
def test_a_line_that_decides_nothing_is_left_out_where_it_is_damaged(line: str) -> None:
    whole = sdp(*HEAD, "m=audio 9 RTP/AVP 0", "a=x")
    assert parse_sdp(sdp(*HEAD, "m=audio 9 RTP/AVP 0", line, "a=x")) == parse_sdp(whole)


@pytest.mark.parametrize("end", [b"\0", b"\r\n\0", b"\0\0\r\n", b"\r\r\n"])
def test_zeros_and_returns_behind_a_line_are_no_part_of_it(end: bytes) -> None:
    assert parse_sdp(sdp(*HEAD, "a=one").removesuffix(b"\r\n") + end).attribute("one") == ""


@pytest.mark.parametrize("origin", ["o=", "o= 4711 1 IN IP4 192.0.2.7", "o=- 4711 1 IN IP4", "o=-"])
def test_an_origin_may_lack_fields(origin: str) -> None:
    parse_sdp(sdp("v=0", origin, "s=-", "m=audio 9 RTP/AVP 0"))


def _padding(total: int) -> str:
    """Returns the attribute line that makes a description of HEAD exactly `total` bytes long."""
    return "a=".ljust(total - len(sdp(*HEAD)) - 2, "x")


@pytest.mark.parametrize(
    ("inside", "beyond"),
    [
        (sdp(*HEAD, *["a=x"] * (MAX_LINES - 6)), sdp(*HEAD, *["a=x"] * MAX_LINES)),
        (sdp(*HEAD, *["m=audio 0 A 0"] * MAX_MEDIA), sdp(*HEAD, *["m=audio 0 A 0"] * (MAX_MEDIA + 1))),
        (
            sdp(*HEAD, "m=audio 9 A" + " 1" * MAX_FORMATS),
            sdp(*HEAD, "m=audio 9 A" + " 1" * (MAX_FORMATS + 1)),
        ),
        (sdp(*HEAD, _padding(MAX_BYTES)), sdp(*HEAD, _padding(MAX_BYTES + 1))),
    ],
    ids=["lines", "media", "formats", "bytes"],
)
def test_sizes_are_bounded(inside: bytes, beyond: bytes) -> None:
    parse_sdp(inside)
    with pytest.raises(SdpParseError):
        parse_sdp(beyond)


def test_a_number_too_long_for_its_limit_is_no_number() -> None:
    assert decimal("9" * 5000, 127) is None
    assert decimal("127", 127) == 127
    assert decimal("128", 127) is None
    assert decimal("", 127) is None


def test_a_value_with_a_line_end_is_never_written() -> None:
    description = SessionDescription(Origin("-", "1", "1", "IP4", "192.0.2.7"), name="x\r\na=forged")
    with pytest.raises(ValueError):
        description.to_bytes()


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parse_sdp(data)
    except SdpParseError:
        return


_MUTABLE = pcmu_offer("a=rtcp:40001 IN IP4 192.0.2.7", "a=mid:0") + sdp("m=video 0 RTP/AVP 96")[:-2]


@settings(deadline=None)
@given(st.integers(0, len(_MUTABLE)), st.integers(0, 12), st.binary(max_size=8))
def test_any_damage_to_an_offer_is_read_or_refused_and_survives_a_round_trip(
    at: int, cut: int, inserted: bytes
) -> None:
    try:
        description = parse_sdp(_MUTABLE[:at] + inserted + _MUTABLE[at + cut :])
    except SdpParseError:
        return
    assert parse_sdp(description.to_bytes()) == description


_WORD = st.from_regex(r"\A[!-9;-~]{1,12}\Z")
_TEXT = st.text(
    st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), min_size=1, max_size=20
)
_ATTRIBUTES = st.lists(st.builds(Attribute, _WORD, st.none() | _TEXT), max_size=4).map(tuple)
_CONNECTIONS = st.none() | st.builds(Connection, st.sampled_from(["IP4", "IP6"]), _WORD, _WORD)


def _ranked(lines: list[Line]) -> tuple[Line, ...]:
    return tuple(sorted(lines, key=lambda line: line.rank))


_OTHER = st.lists(st.builds(Line, st.sampled_from("iuepbtzkxQ"), _TEXT), max_size=4).map(_ranked)
_MEDIA = st.builds(
    MediaDescription,
    media=_WORD,
    port=st.integers(0, 65535),
    protocol=_WORD,
    formats=st.lists(_WORD, max_size=4).map(tuple),
    connection=_CONNECTIONS,
    attributes=_ATTRIBUTES,
    other=_OTHER,
    port_count=st.integers(1, 9),
)
_DESCRIPTIONS = st.builds(
    SessionDescription,
    origin=st.builds(Origin, _WORD, _WORD, _WORD, st.sampled_from(["IP4", "IP6"]), _WORD, _WORD),
    name=_TEXT,
    connection=_CONNECTIONS,
    attributes=_ATTRIBUTES,
    media=st.lists(_MEDIA, max_size=3).map(tuple),
    other=_OTHER,
)


@settings(deadline=None)
@given(_DESCRIPTIONS)
def test_every_description_survives_its_own_text(description: SessionDescription) -> None:
    assert parse_sdp(description.to_bytes()) == description
