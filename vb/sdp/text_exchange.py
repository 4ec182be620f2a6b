"""The text line of an offer or answer: what ours says to the peer's, and what comes of the two.

Beside audio that is protected there is no text in the clear.

Spec: RFC 4103 §9, RFC 3264.
"""

from __future__ import annotations

from dataclasses import replace

from vb.sdp.address import Network
from vb.sdp.errors import AnswerRejected
from vb.sdp.keying import NO_KEYS, Keying, answered_keys, kept_keys
from vb.sdp.session import SessionDescription
from vb.sdp.text import AgreedText, LocalText, PeerText, read_text


def first_text(port: int, keying: Keying | None) -> LocalText:
    """Return the text line of our first offer."""
    if keying is None:
        return LocalText(port)
    return LocalText(port, protocol=keying.protocol, keys=keying.first_offer())


def offered_again(
    local: LocalText | None, agreed: AgreedText | None, keying: Keying | None
) -> LocalText | None:
    """Return the text line of a later offer, None where the peer has refused text."""
    if local is None or agreed is None:
        return None
    keys = local.keys if keying is None else keying.later_offer(agreed.srtp, local.keys)
    return replace(local, direction="sendrecv", keys=keys)


def answer_text(
    theirs: PeerText | None, port: int | None, keying: Keying | None, before: AgreedText | None
) -> tuple[LocalText | None, AgreedText | None]:
    """Return our line that answers one of an offer, and what the two make together.

    Args:
        theirs: the line, None if there is none for us.
        port: ours, None if there is to be no text.
        keying: how text may be protected.
        before: the text in force.
    """
    if theirs is None or port is None:
        return None, None
    local, keys, ice = NO_KEYS, None, None
    if keying is not None:
        if theirs.keys is not None:
            local, keys = keying.answer(theirs.keys, None if before is None else before.srtp)
        if theirs.stream.ice is not None:
            ice = keying.answer_ice(theirs.stream.ice)
    text = theirs.answer(port, local, ice)
    return text, theirs.agree(text, keys)


def answered_text(
    description: SessionDescription,
    local: LocalText | None,
    index: int | None,
    network: Network,
    keying: Keying | None,
    *,
    protected: bool,
) -> AgreedText | None:
    """Return the text stream that an answer leaves of our offer.

    Args:
        description: the answer.
        local: our line, None if there was none.
        index: its position.
        network: what can be reached from here.
        keying: how text may be protected.
        protected: text in the clear will not do.
    """
    if local is None or index is None:
        return None
    ours = {item.payload_type: item for item in local.formats}
    theirs = read_text(description, index, ours, network)
    if theirs is None:
        return None
    try:
        keys = answered_keys(description, description.media[index], local.protocol, local.keys, keying)
    except AnswerRejected:
        return None
    return None if keys is None and protected else theirs.agree(local, keys)


def kept_text(local: LocalText | None, agreed: AgreedText | None) -> LocalText | None:
    """Return our text line with what its answer has left of it."""
    if local is None or agreed is None:
        return local
    ice = local.ice if agreed.ice is not None else None
    return replace(local, keys=kept_keys(local.keys, agreed.srtp), ice=ice)
