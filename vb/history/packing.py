"""How what is kept of a call is made small: JSON, deflated with what calls have in common."""

from __future__ import annotations

import json
import zlib
from typing import Any, Final

from pydantic_core import PydanticSerializationError, to_json

_FORMAT: Final = b"\x01"
MAX_UNPACKED: Final = 64 * 1_048_576

# Deflate refers to this as to text before the first byte; the most frequent comes last. It is part of the
# format 1 and must never change: a better one is another format.
_COMMON: Final = (
    b"SIP/2.0 486 Busy Here\r\nSIP/2.0 487 Request Terminated\r\nSIP/2.0 100 Trying\r\nSIP/2.0"
    b" 180 Ringing\r\n"
    b"CANCEL sip:Max-Forwards: 70\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE,"
    b" PRACK, REFER, NOTIFY"
    b"\r\nSupported: 100rel, timer, replaces\r\nSession-Expires: 1800;refresher=uac\r\nMin-SE: 90\r\n"
    b"User-Agent: voiceblender\r\nServer: voiceblender\r\nRecord-Route: <sip:;lr>\r\nContent-Type: "
    b"application/sdp\r\nContent-Length: \r\n\r\nv=0\r\no=- IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 \r\nt=0 0\r\n"
    b"m=audio RTP/AVP 0 8 9 96 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8"
    b" PCMA/8000\r\na=rtpmap:9 G722/8000\r\n"
    b"a=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n"
    b"a=sendrecv\r\na=rtcp:INVITE sip:BYE sip:ACK sip: SIP/2.0\r\nVia: SIP/2.0/UDP ;rport;branch=z9hG4bK"
    b"\r\nFrom: <sip:>;tag=\r\nTo: <sip:>;tag=\r\nCall-ID: \r\nCSeq: 1 INVITE\r\nCSeq: 2"
    b" BYE\r\nContact: <sip:>"
    b'\r\nSIP/2.0 200 OK\r\n"cdr":{"reason":"caller_cancel","reason":"api_hangup","reason":"remote_bye",'
    b'"duration_total":,"duration_answered":0.0},"quality":{"mos_score":4.4,"rtp_packets_received":,'
    b'"rtp_packets_lost":0,"rtp_jitter_ms":0.}}\n{"type":"speaking.started","type":"speaking.stopped",'
    b'"type":"recording.started","type":"recording.finished","file":"/recordings/.wav","type":"playback.started"'
    b","
    b'"type":"playback.finished","playback_id":"","reason":"completed","played_ms":'
    b'"type":"stt.text","text":"","is_final":true}{"type":"dtmf.received","digit":"","seq":'
    b'{"type":"leg.left_room","{"type":"leg.joined_room","room_id":"{"type":"leg.disconnected",'
    b'"offered_codecs":[{"name":"PCMU","payload_type":0,"clock_rate":8000,"priority":1},{"name":"PCMA",'
    b'"payload_type":8,"clock_rate":8000,"priority":2}],"source_address":"127.0.0.1:5060","sip_headers":{"X-'
    b'{"type":"sip.message","timestamp":"2026-","direction":"in","direction":"out","text":"'
    b'{"leg_id":"","leg_type":"sip_outbound","direction":"outbound","leg_type":"sip_inbound","direction":'
    b'"inbound","from":"+49","to":"+49","uri":"sip:","app_id":"","instance_id":"","created_us":17,"joined_us":17'
    b","
    b'"ended_us":17,"reason":"","metadata":{"X-"},"rooms":[{"room_id":"","joined_us":17,"left_us":17}],'
    b'"recordings":[],"agents":[]}{"type":"leg.connected","type":"leg.ringing","timestamp":"2026-","instance_id"'
    b":"
    b'"","event_id":"","app_id":"","leg_id":"","leg_type":"sip_inbound"}\n'
)


def pack(data: bytes) -> bytes:
    """Return bytes made small."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15, 8, zlib.Z_DEFAULT_STRATEGY, _COMMON)
    return _FORMAT + deflate.compress(data) + deflate.flush()


def unpack(packed: bytes) -> bytes:
    """Return what `pack` was given.

    Raises:
        ValueError: it is damaged, of another format, or unreasonably long.
    """
    if packed[:1] != _FORMAT:
        raise ValueError("packed in another format")
    inflate = zlib.decompressobj(-15, _COMMON)
    try:
        data = inflate.decompress(packed[1:], MAX_UNPACKED)
    except zlib.error as exc:
        raise ValueError("packed data is damaged") from exc
    if not inflate.eof:
        raise ValueError("packed data is cut off or too long")
    return data


def dump_json(value: Any) -> bytes:
    """Return compact JSON on one line; what is no Unicode text becomes question marks."""
    try:
        return to_json(value)  # a ninth of the time
    except PydanticSerializationError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def pack_json(value: Any) -> bytes:
    """Return a value as packed JSON."""
    return pack(dump_json(value))


def unpack_json(packed: bytes) -> Any:
    """Return the value that `pack_json` was given.

    Raises:
        ValueError: as `unpack`.
    """
    return json.loads(unpack(packed))
