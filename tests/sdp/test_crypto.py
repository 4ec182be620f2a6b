"""`a=crypto` lines: those of RFC 4568, those that cannot be used, and keys that stay out of sight."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.sdp.crypto import CryptoLine, Suite, crypto_lines, matching_lines, names_crypto
from vb.sdp.session import Attribute, MediaDescription

# RFC 4568 §4, §6.1.
KEY_TEXT = "NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj"
KEY = b"70xwPH5@/,L:S1wY\"~='EpgT%(i_Vc"
OTHER_TEXT = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
CM_80 = "AES_CM_128_HMAC_SHA1_80"


def media(*values: str) -> MediaDescription:
    return MediaDescription(
        "audio", 40000, "RTP/SAVP", ("0",), attributes=tuple(Attribute("crypto", value) for value in values)
    )


def only(value: str) -> CryptoLine | None:
    found = crypto_lines(media(value))
    return found[0] if found else None


def test_the_key_of_the_rfc_is_read_and_written_as_it_stands() -> None:
    line = only(f"1 {CM_80} inline:{KEY_TEXT}")
    assert line == CryptoLine(1, Suite.AES_CM_128_HMAC_SHA1_80, KEY)
    assert line.attribute() == Attribute("crypto", f"1 {CM_80} inline:{KEY_TEXT}")


@pytest.mark.parametrize(
    "value",
    [
        f"1 {CM_80} inline:{KEY_TEXT}|2^20",
        f"1 {CM_80} inline:{KEY_TEXT}|2^48",
        f"1 {CM_80} inline:{KEY_TEXT}|1048576",
        f"1 {CM_80} inline:{KEY_TEXT} KDR=0 WSH=64",
        f"1 {CM_80} inline:{KEY_TEXT} -UNKNOWN=1",
        f"1   {CM_80.lower()}  INLINE:{KEY_TEXT}",
    ],
)
def test_parameters_that_change_nothing_are_taken(value: str) -> None:
    found = only(value)
    assert found is not None
    assert found.key == KEY


@pytest.mark.parametrize(
    "value",
    [
        "",
        "1",
        f"1 {CM_80}",
        f"one {CM_80} inline:{KEY_TEXT}",
        f"1234567890 {CM_80} inline:{KEY_TEXT}",
        f"-1 {CM_80} inline:{KEY_TEXT}",
        f"1 F8_128_HMAC_SHA1_80 inline:{KEY_TEXT}",
        f"1 {CM_80} outofband:{KEY_TEXT}",
        f"1 {CM_80} {KEY_TEXT}",
        f"1 {CM_80} inline:",
        f"1 {CM_80} inline:{KEY_TEXT[:-4]}",
        f"1 {CM_80} inline:{KEY_TEXT}AAAA",
        f"1 {CM_80} inline:{KEY_TEXT[:-1]}!",
        f"1 {CM_80} inline:{KEY_TEXT[:-2]}é=",
        f"1 AEAD_AES_256_GCM inline:{KEY_TEXT}",
        f"1 {CM_80} inline:{KEY_TEXT}|1:32",
        f"1 {CM_80} inline:{KEY_TEXT}|2^20|1:32",
        f"1 {CM_80} inline:{KEY_TEXT}|2^20|1:4;inline:{OTHER_TEXT}|2^20|2:4",
        f"1 {CM_80} inline:{KEY_TEXT}|2^10",
        f"1 {CM_80} inline:{KEY_TEXT}|2^49",
        f"1 {CM_80} inline:{KEY_TEXT}|",
        f"1 {CM_80} inline:{KEY_TEXT} KDR=1",
        f"1 {CM_80} inline:{KEY_TEXT} UNENCRYPTED_SRTP",
        f"1 {CM_80} inline:{KEY_TEXT} UNENCRYPTED_SRTCP",
        f"1 {CM_80} inline:{KEY_TEXT} UNAUTHENTICATED_SRTP",
        f"1 {CM_80} inline:{KEY_TEXT} FEC_ORDER=FEC_SRTP",
        f"1 {CM_80} inline:{KEY_TEXT} WSH=-1",
        f"1 {CM_80} inline:{KEY_TEXT} UNKNOWN=1",
    ],
)
def test_a_line_that_cannot_be_used_is_left_out(value: str) -> None:
    assert only(value) is None
    assert names_crypto(media(value))


def test_a_broken_line_does_not_spoil_the_one_behind_it() -> None:
    lines = crypto_lines(media(f"1 {CM_80} inline:AAAA", f"2 {CM_80} inline:{KEY_TEXT}"))
    assert [(line.tag, line.key) for line in lines] == [(2, KEY)]


def test_a_tag_counts_once() -> None:
    lines = crypto_lines(media(f"1 {CM_80} inline:{KEY_TEXT}", f"1 {CM_80} inline:{OTHER_TEXT}"))
    assert [line.key for line in lines] == [KEY]


@pytest.mark.parametrize("suite", Suite)
def test_every_suite_comes_back_as_it_was_written(suite: Suite) -> None:
    line = CryptoLine(7, suite, bytes(range(suite.size_bytes)))
    described = MediaDescription("audio", 1, "RTP/SAVP", ("0",), attributes=(line.attribute(),))
    assert crypto_lines(described) == (line,)


def test_an_answer_accepts_by_tag_and_suite() -> None:
    ours = (
        CryptoLine(1, Suite.AEAD_AES_128_GCM, bytes(28)),
        CryptoLine(2, Suite.AES_CM_128_HMAC_SHA1_80, KEY),
    )
    right = CryptoLine(2, Suite.AES_CM_128_HMAC_SHA1_80, bytes(30))
    assert matching_lines([right], ours) == (right, ours[1])
    assert matching_lines([CryptoLine(1, right.suite, bytes(30))], ours) is None
    assert matching_lines([CryptoLine(3, right.suite, bytes(30))], ours) is None


def test_no_representation_shows_a_key() -> None:
    line = only(f"1 {CM_80} inline:{KEY_TEXT}")
    assert "70xw" not in repr(line)


@given(st.text(), st.text(), st.text())
def test_no_text_makes_reading_fail(tag: str, key: str, further: str) -> None:
    for value in (
        f"{tag} {key} {further}",
        f"1 {CM_80} inline:{key} {further}",
        f"1 {CM_80} inline:{KEY_TEXT}{key}",
    ):
        crypto_lines(media(value))
