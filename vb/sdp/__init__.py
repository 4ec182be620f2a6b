"""Session descriptions and the offer/answer model, as pure functions of bytes."""

from vb.sdp.direction import Direction
from vb.sdp.errors import AnswerRejected, CodecNotOffered, OfferRejected, SdpError, SdpParseError
from vb.sdp.negotiate import (
    Agreed,
    OfferedCodec,
    check_offer,
    offered_codecs,
)
from vb.sdp.offer_answer import OfferAnswer, Receivable
from vb.sdp.parser import parse_sdp
from vb.sdp.session import SessionDescription
from vb.sdp.stream import MediaAddress
from vb.sdp.text import AgreedText, TextTypes, offers_text

__all__ = [
    "Agreed",
    "AgreedText",
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
    "TextTypes",
    "check_offer",
    "offered_codecs",
    "offers_text",
    "parse_sdp",
]
