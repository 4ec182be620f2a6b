"""SRTP as the plane's transform, both ways and for reports."""

from __future__ import annotations

import struct

from tests.webrtc.test_srtp import keys, rtp
from vb.mixer.srtp_transform import SrtpTransform
from vb.mixer.transform import REFUSED
from vb.webrtc.srtp import Srtp

REPORT = struct.pack("!BBHI", 0x80, 201, 1, 77)


def memory(data: bytes) -> memoryview:
    return memoryview(bytearray(data + bytes(64)))


def test_packets_and_reports_come_out_as_they_went_in() -> None:
    ours, theirs = SrtpTransform(Srtp(keys())), SrtpTransform(Srtp(keys(swapped=True)))
    packet = memory(rtp(1))
    size = ours.protect(packet, len(rtp(1)))
    assert size > len(rtp(1))
    assert bytes(packet[:12]) == rtp(1)[:12]
    assert theirs.unprotect(packet, size) == len(rtp(1))
    assert bytes(packet[: len(rtp(1))]) == rtp(1)
    report = memory(REPORT)
    size = ours.protect_rtcp(report, len(REPORT))
    assert theirs.unprotect_rtcp(report, size) == len(REPORT)
    assert bytes(report[: len(REPORT)]) == REPORT


def test_what_is_bare_or_foreign_is_refused() -> None:
    ours = SrtpTransform(Srtp(keys()))
    assert ours.unprotect(memory(rtp(1)), len(rtp(1))) == REFUSED
    assert ours.unprotect_rtcp(memory(REPORT * 4), len(REPORT) * 4) == REFUSED
    assert ours.protect_rtcp(memoryview(bytearray(REPORT)), len(REPORT)) == REFUSED
    assert ours.protect(memory(b"x"), 1) == REFUSED
