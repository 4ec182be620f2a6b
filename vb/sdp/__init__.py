"""Session descriptions and the offer/answer model, as pure functions of bytes."""

from vb.sdp.direction import Direction
from vb.sdp.errors import AnswerRejected, CodecNotOffered, OfferRejected, SdpError, SdpParseError
from vb.sdp.negotiate import (
    Agreed,
    MediaAddress,
    OfferedCodec,
    check_offer,
    offer_family,
    offered_codecs,
)
from vb.sdp.offer_answer import OfferAnswer, Receivable
from vb.sdp.parser import parse_sdp
from vb.sdp.session import SessionDescription

__all__ = [
    "Agreed",
    "AnswerRejected",
    "CodecNotOffered",
    "Direction",
    "MediaAddress",
    "OfferAnswer",
    "OfferRejected",
    "OfferedCodec",
    "Receivable",
    "SdpError",
    "SdpParseError",
    "SessionDescription",
    "check_offer",
    "offer_family",
    "offered_codecs",
    "parse_sdp",
]
