"""Session descriptions as peers write them, for the tests of this folder."""

from collections.abc import Sequence

from vb.choices import KNOWN_CODECS
from vb.codecs.base import CODECS, Codec
from vb.sdp import Agreed, OfferAnswer

PREFERENCE = tuple(CODECS[name] for name in KNOWN_CODECS)
PCMU, PCMA, G722, OPUS = (CODECS[name] for name in ("PCMU", "PCMA", "G722", "opus"))

HEAD = ("v=0", "o=- 4711 1 IN IP4 192.0.2.7", "s=call", "c=IN IP4 192.0.2.7", "t=0 0")
PCMU_LINES = (
    "m=audio 40000 RTP/AVP 0 101",
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:101 telephone-event/8000",
    "a=fmtp:101 0-16",
    "a=ptime:20",
)


def sdp(*lines: str) -> bytes:
    """Joins lines into a description."""
    return "".join(f"{line}\r\n" for line in lines).encode()


def offer(*media_lines: str) -> bytes:
    """Returns a description with the usual session lines on top."""
    return sdp(*HEAD, *media_lines)


def pcmu_offer(*more: str) -> bytes:
    """Returns a PCMU offer with telephone events, and further attributes of the audio line."""
    return offer(*PCMU_LINES, *more)


def leg(codecs: Sequence[Codec] = PREFERENCE, *, rtcp_port: int | None = None) -> OfferAnswer:
    """Returns our side of a call."""
    return OfferAnswer(address="192.0.2.1", rtp_port=30000, rtcp_port=rtcp_port, codecs=codecs, session_id=77)


def lines(data: bytes) -> list[str]:
    """Splits a description."""
    text = data.decode()
    assert text.endswith("\r\n")
    return text[:-2].split("\r\n")


def version(data: bytes) -> int:
    """Returns the version of the `o=` line."""
    return int(lines(data)[1].split()[2])


def direction(data: bytes) -> str:
    """Returns the only direction attribute of a description."""
    (found,) = [
        line[2:] for line in lines(data) if line in ("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive")
    ]
    return found


def answered(ours: OfferAnswer, data: bytes, *, codec: str | None = None) -> Agreed:
    ours.receive_offer(data, codec=codec)
    assert ours.agreed is not None
    return ours.agreed
