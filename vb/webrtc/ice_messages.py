"""The Binding messages of ICE: our checks, and what we answer to the peer's.

Spec: RFC 8445 §7.
"""

from __future__ import annotations

import struct
from typing import Final

from vb.webrtc import stun
from vb.webrtc.candidate import candidate_priority
from vb.webrtc.checklist import Pair
from vb.webrtc.generation import Generation
from vb.webrtc.stun import Address, Attr, Kind, Message, Method

ROLE_CONFLICT: Final = 487

_KNOWN: Final = frozenset({Attr.USERNAME, Attr.PRIORITY, Attr.USE_CANDIDATE})


def check_request(
    generation: Generation,
    pair: Pair,
    transaction_id: bytes,
    *,
    controlling: bool,
    tie_breaker: bytes,
    nominate: bool,
) -> bytes:
    """Return a connectivity check."""
    # The priority is that of the reflexive candidate which the peer would learn from this request.
    preference = pair.local_priority >> 8 & 0xFFFF
    role = Attr.ICE_CONTROLLING if controlling else Attr.ICE_CONTROLLED
    attributes: list[tuple[int, bytes]] = [
        (Attr.USERNAME, generation.username),
        (Attr.PRIORITY, struct.pack("!I", candidate_priority("prflx", preference))),
        (role, tie_breaker),
    ]
    if nominate:
        attributes.append((Attr.USE_CANDIDATE, b""))
    return stun.build(Kind.REQUEST, Method.BINDING, transaction_id, attributes, key=generation.remote_key)


def success_response(request: Message, source: Address, password: str) -> bytes:
    """Return the response that tells a peer where its check came from."""
    tid = request.transaction_id
    mapped = (Attr.XOR_MAPPED_ADDRESS, stun.xor_address(source, tid))
    return stun.build(Kind.SUCCESS, Method.BINDING, tid, [mapped], key=password.encode())


def error_response(request: Message, code: int, reason: str, password: str) -> bytes:
    """Return a refusal."""
    attributes = [(int(Attr.ERROR_CODE), stun.error_code(code, reason))]
    if code == 420:
        unknown = request.unknown_required(_KNOWN)
        attributes.append((Attr.UNKNOWN_ATTRIBUTES, stun.unknown_attributes(unknown[:8])))
    tid = request.transaction_id
    return stun.build(Kind.ERROR, Method.BINDING, tid, attributes, key=password.encode())


def keepalive(transaction_id: bytes) -> bytes:
    """Return an indication that keeps the mappings of NATs alive.

    Spec: RFC 8445 §11.
    """
    return stun.build(Kind.INDICATION, Method.BINDING, transaction_id)


def refusal(request: Message) -> tuple[int, str] | None:
    """Return why a request with a good signature is refused all the same, or None."""
    if request.unknown_required(_KNOWN):
        return 420, "Unknown Attribute"
    if stun.read_uint32(request.get(Attr.PRIORITY)) is None:
        return 400, "Bad Request"
    return None
