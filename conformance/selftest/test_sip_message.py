import pytest

from conformance.peers.digest import challenge, is_right, parameters_of
from conformance.peers.sdp_text import audio_lines, audio_sdp, read_sdp, session
from conformance.peers.sip_message import (
    BadSip,
    address_of,
    read_message,
    split_stream,
    tag_of,
    uri_of,
    write_message,
)

HERE = ("127.0.0.1", 5060)


def test_a_written_request_reads_back() -> None:
    data = write_message("BYE sip:x@h SIP/2.0", [("CSeq", "7 BYE"), ("To", "<sip:a@h>;tag=t1")], b"hi")
    message = read_message(data, HERE)
    assert (message.method, message.cseq, message.to_tag, message.body) == ("BYE", (7, "BYE"), "t1", b"hi")
    assert message.header("content-length") == "2"


def test_a_response_has_the_method_of_its_cseq() -> None:
    message = read_message(b"SIP/2.0 486 Busy Here\r\nCSeq: 3 INVITE\r\n\r\n", HERE)
    assert (message.status, message.reason, message.method) == (486, "Busy Here", "INVITE")


def test_compact_names_and_folded_lines_are_understood() -> None:
    message = read_message(b"OPTIONS sip:h SIP/2.0\r\ni: abc\r\nSubject: one\r\n two\r\n\r\n", HERE)
    assert message.call_id == "abc"
    assert message.header("Subject") == "one two"


def test_bytes_without_a_start_line_are_refused() -> None:
    with pytest.raises(BadSip):
        read_message(b"rubbish", HERE)


def test_a_tag_inside_the_uri_is_not_the_tag() -> None:
    assert tag_of("<sip:a@h;tag=no>;tag=yes") == "yes"
    assert tag_of("<sip:a@h;tag=no>") == ""


def test_uris_and_addresses_are_taken_apart() -> None:
    assert uri_of('"A, B" <sip:a@[::1]:5070;lr>;tag=x') == "sip:a@[::1]:5070;lr"
    assert address_of("sip:a@[::1]:5070;lr") == ("::1", 5070)
    assert address_of("sip:h") == ("h", 5060)


def test_a_stream_is_cut_by_content_length() -> None:
    one = write_message("OPTIONS sip:h SIP/2.0", [("CSeq", "1 OPTIONS")], b"body")
    first, rest = split_stream(b"\r\n\r\n" + one + one[:10])
    assert first == one
    assert split_stream(rest) == (None, one[:10])


def test_written_sdp_reads_back() -> None:
    sdp = read_sdp(audio_sdp(4000, codecs=["opus", "PCMU"], direction="sendonly"))
    assert sdp.audio.formats == ["111", "0", "101"]
    assert sdp.audio.direction == "sendonly"
    assert sdp.audio.rtpmaps[111] == "opus/48000/2"
    assert sdp.audio.fmtp(101) == "0-16"
    assert sdp.audio.connection == "IN IP4 127.0.0.1"


def test_the_live_audio_line_is_the_audio_line() -> None:
    sdp = read_sdp(session([*audio_lines(0), *audio_lines(4000)]))
    assert sdp.audio.port == 4000


def test_sdp_without_its_last_line_end_is_refused() -> None:
    with pytest.raises(ValueError, match="CRLF"):
        read_sdp(audio_sdp(4000)[:-2])


def test_the_digest_example_of_rfc_2617_is_right_only_with_its_password() -> None:
    header = (
        'Digest username="Mufasa", realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
        'uri="/dir/index.html", qop=auth, nc=00000001, cnonce="0a4f113b", '
        'response="6629fae49393a05397450978507c4ef1", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    assert is_right(header, "GET", "Circle Of Life")
    assert not is_right(header, "GET", "circle of life")
    assert parameters_of(challenge("n1"))["nonce"] == "n1"
