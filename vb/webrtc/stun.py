"""STUN messages: bytes to values and back, with their integrity and their fingerprint.

Spec: RFC 8489; attributes of ICE RFC 8445 §16.1, of TURN RFC 8656 §18.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import struct
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

Address = tuple[str, int]
"""An IP literal and a port."""

COOKIE: Final = 0x2112A442
HEADER_BYTES: Final = 20
TRANSACTION_ID_BYTES: Final = 12
MAX_BYTES: Final = 2048
MAX_ATTRIBUTES: Final = 48

_HEADER: Final = struct.Struct("!HHI12s")
_ATTRIBUTE: Final = struct.Struct("!HH")
_FINGERPRINT_XOR: Final = 0x5354554E
_SHA1_BYTES: Final = 20
_SHA256_MIN_BYTES: Final = 16
_SHA256_BYTES: Final = 32
_IPV4, _IPV6 = 1, 2


class StunError(Exception):
    """The bytes are no STUN message, or an attribute is not of its form."""


class Kind(IntEnum):
    """Class of a message, as its two bits."""

    REQUEST = 0b00
    INDICATION = 0b01
    SUCCESS = 0b10
    ERROR = 0b11


class Method(IntEnum):
    """Methods that are spoken here."""

    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009


class Attr(IntEnum):
    """Attribute types; those below 0x8000 must be understood by who reads them."""

    MAPPED_ADDRESS = 0x0001
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    CHANNEL_NUMBER = 0x000C
    LIFETIME = 0x000D
    XOR_PEER_ADDRESS = 0x0012
    DATA = 0x0013
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_ADDRESS_FAMILY = 0x0017
    REQUESTED_TRANSPORT = 0x0019
    MESSAGE_INTEGRITY_SHA256 = 0x001C
    PASSWORD_ALGORITHM = 0x001D
    XOR_MAPPED_ADDRESS = 0x0020
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    PASSWORD_ALGORITHMS = 0x8002
    SOFTWARE = 0x8022
    ALTERNATE_SERVER = 0x8023
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A


@dataclass(frozen=True, slots=True)
class Message:
    """One STUN message.

    Attributes:
        method: a `Method`, or a number that is unknown here.
        attributes: types and values in order, up to the first integrity attribute; what follows one is
            covered by nothing and left out (RFC 8489 §14.5).
    """

    kind: Kind
    method: int
    transaction_id: bytes
    attributes: tuple[tuple[int, bytes], ...] = ()
    _data: bytes = b""
    _integrity_at: int = 0
    _sha256_at: int = 0

    def get(self, attribute: int) -> bytes | None:
        """Returns the value of the first attribute of a type, None when absent."""
        for found, value in self.attributes:
            if found == attribute:
                return value
        return None

    @property
    def is_signed(self) -> bool:
        """True when the message has an integrity attribute of either kind."""
        return bool(self._integrity_at or self._sha256_at)

    def verify(self, key: bytes) -> bool:
        """Tells whether the message was signed with this key; the stronger signature counts.

        Args:
            key: the password (short-term), or what `long_term_key` makes (long-term).
        """
        if self._sha256_at:
            return self._verified(key, self._sha256_at, "sha256", _SHA256_BYTES)
        if self._integrity_at:
            return self._verified(key, self._integrity_at, "sha1", _SHA1_BYTES)
        return False

    def _verified(self, key: bytes, at: int, digest: str, full: int) -> bool:
        data = self._data
        size = int.from_bytes(data[at + 2 : at + 4])
        if digest == "sha1" and size != full:
            return False
        # The length in the header counts as if the message ended with this attribute (RFC 8489 §14.5).
        covered = data[:2] + struct.pack("!H", at + 4 + size - HEADER_BYTES) + data[4:at]
        expected = hmac.digest(key, covered, digest)[:size]
        return hmac.compare_digest(expected, data[at + 4 : at + 4 + size])

    def unknown_required(self, known: Collection[int]) -> tuple[int, ...]:
        """Returns the attribute types that must be understood and are not among `known`.

        Spec: RFC 8489 §6.3.1.
        """
        return tuple(
            dict.fromkeys(found for found, _ in self.attributes if found < 0x8000 and found not in known)
        )


def is_stun(data: bytes) -> bool:
    """Tells whether a datagram can be STUN: a first byte up to 3 (RFC 7983 §7) and the magic cookie."""
    return len(data) >= HEADER_BYTES and data[0] < 4 and data[4:8] == b"\x21\x12\xa4\x42"


def parse(data: bytes) -> Message:
    """Reads one message that fills `data`.

    Raises:
        StunError: it is none, its fingerprint is wrong, or it is larger than this server reads.
    """
    size = len(data)
    if not is_stun(data) or size > MAX_BYTES:
        raise StunError("no STUN message")
    word, length, _, transaction_id = _HEADER.unpack_from(data)
    if length % 4 or length + HEADER_BYTES != size:
        raise StunError("the length of the message is not that of the datagram")
    attributes: list[tuple[int, bytes]] = []
    integrity_at = sha256_at = 0
    at = HEADER_BYTES
    count = 0
    while at < size:
        kind, length = _ATTRIBUTE.unpack_from(data, at)
        end = at + 4 + length
        count += 1
        if end > size or count > MAX_ATTRIBUTES:
            raise StunError("an attribute runs over the end, or there are too many")
        if kind == Attr.FINGERPRINT:
            if length != 4 or end != size or int.from_bytes(data[at + 4 : end]) != fingerprint(data[:at]):
                raise StunError("the fingerprint is wrong")
        elif kind == Attr.MESSAGE_INTEGRITY_SHA256 and not sha256_at:
            if not _SHA256_MIN_BYTES <= length <= _SHA256_BYTES or length % 4:
                raise StunError("the integrity has a wrong size")
            sha256_at = at
        elif kind == Attr.MESSAGE_INTEGRITY and not (integrity_at or sha256_at):
            if length != _SHA1_BYTES:
                raise StunError("the integrity has a wrong size")
            integrity_at = at
        elif not (integrity_at or sha256_at):
            attributes.append((kind, data[at + 4 : end]))
        at = end + (-length & 3)
    return Message(
        kind=Kind((word >> 7 & 2) | (word >> 4 & 1)),
        method=(word & 0xF) | (word >> 1 & 0x70) | (word >> 2 & 0xF80),
        transaction_id=transaction_id,
        attributes=tuple(attributes),
        _data=data,
        _integrity_at=integrity_at,
        _sha256_at=sha256_at,
    )


def build(
    kind: Kind,
    method: int,
    transaction_id: bytes,
    attributes: Iterable[tuple[int, bytes]] = (),
    *,
    key: bytes | None = None,
    sha256: bool = False,
    with_fingerprint: bool = True,
) -> bytes:
    """Returns a message as bytes.

    Args:
        key: signs the message with it; see `Message.verify`.
        sha256: sign with MESSAGE-INTEGRITY-SHA256 instead of MESSAGE-INTEGRITY.
    """
    word = (method & 0xF) | (method & 0x70) << 1 | (method & 0xF80) << 2 | (kind & 1) << 4 | (kind & 2) << 7
    body = b"".join(_attribute(found, value) for found, value in attributes)
    if key is not None:
        digest, size = ("sha256", _SHA256_BYTES) if sha256 else ("sha1", _SHA1_BYTES)
        head = _HEADER.pack(word, len(body) + 4 + size, COOKIE, transaction_id)
        attribute = Attr.MESSAGE_INTEGRITY_SHA256 if sha256 else Attr.MESSAGE_INTEGRITY
        body += _attribute(attribute, hmac.digest(key, head + body, digest))
    if not with_fingerprint:
        return _HEADER.pack(word, len(body), COOKIE, transaction_id) + body
    data = _HEADER.pack(word, len(body) + 8, COOKIE, transaction_id) + body
    return data + _attribute(Attr.FINGERPRINT, struct.pack("!I", fingerprint(data)))


def fingerprint(data: bytes) -> int:
    """Returns the fingerprint of everything before that attribute, the header's length including it."""
    return binascii.crc32(data) ^ _FINGERPRINT_XOR


def long_term_key(username: str, realm: str, password: str) -> bytes:
    """Returns the key of the long-term credential mechanism with its usual algorithm, MD5.

    Spec: RFC 8489 §9.2.2.
    """
    text = f"{username}:{realm}:{password}".encode()
    return hashlib.md5(text, usedforsecurity=False).digest()


def xor_address(address: Address, transaction_id: bytes) -> bytes:
    """Returns the value of XOR-MAPPED-ADDRESS, XOR-PEER-ADDRESS or XOR-RELAYED-ADDRESS.

    Raises:
        StunError: `address` is no IP literal.

    Spec: RFC 8489 §14.2.
    """
    packed = _packed(address[0])
    family = _IPV4 if len(packed) == 4 else _IPV6
    return struct.pack("!BBH", 0, family, address[1] ^ (COOKIE >> 16)) + _masked(packed, transaction_id)


def read_xor_address(value: bytes, transaction_id: bytes) -> Address:
    """Returns the address of such a value.

    Raises:
        StunError: it is of another form.
    """
    if len(value) < 4:
        raise StunError("an address is cut off")
    family, port = value[1], int.from_bytes(value[2:4]) ^ (COOKIE >> 16)
    packed = _masked(value[4:], transaction_id)
    if family == _IPV4 and len(packed) == 4:
        return str(IPv4Address(packed)), port
    if family == _IPV6 and len(packed) == 16:
        return str(IPv6Address(packed)), port
    raise StunError("an address has an unknown family or a wrong size")


def ip_version(host: str) -> int:
    """Returns 4 or 6, and 0 for what is no IP literal."""
    try:
        return ip_address(host).version
    except ValueError:
        return 0


def error_code(code: int, reason: str) -> bytes:
    """Returns the value of ERROR-CODE."""
    return struct.pack("!HBB", 0, code // 100, code % 100) + reason.encode()


def read_error_code(value: bytes | None) -> int:
    """Returns the code of an error response, 0 when it has none that can be read."""
    if value is None or len(value) < 4 or not 3 <= value[2] & 7 <= 6 or value[3] > 99:
        return 0
    return (value[2] & 7) * 100 + value[3]


def unknown_attributes(types: Iterable[int]) -> bytes:
    """Returns the value of UNKNOWN-ATTRIBUTES."""
    return b"".join(struct.pack("!H", found) for found in types)


def read_uint32(value: bytes | None) -> int | None:
    """Returns the number of a four-byte attribute such as PRIORITY, None when absent or of another size."""
    return int.from_bytes(value) if value is not None and len(value) == 4 else None


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(kind, len(value)) + value + bytes(-len(value) & 3)


def _masked(packed: bytes, transaction_id: bytes) -> bytes:
    mask = struct.pack("!I", COOKIE) + transaction_id
    size = min(len(packed), len(mask))
    return (int.from_bytes(packed[:size]) ^ int.from_bytes(mask[:size])).to_bytes(size)


@lru_cache(maxsize=1024)
def _packed(host: str) -> bytes:
    """Return the bytes of an address; peers ask again and again from the same one."""
    try:
        return ip_address(host).packed
    except ValueError:
        raise StunError("no IP literal") from None
