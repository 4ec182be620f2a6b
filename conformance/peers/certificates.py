"""A certificate authority for one scenario: X.509 with P-256 keys, made of nothing but the standard library.

The arithmetic is plain and slow, and the keys live for seconds: never use this for anything but tests.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import secrets
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

# NIST P-256 (FIPS 186-4 D.1.2.3): y² = x³ - 3x + b over the integers modulo P; G has the order N.
P = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
Point = tuple[int, int]


def _add(a: Point | None, b: Point | None) -> Point | None:
    """The sum of two points; None is the point at infinity."""
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, P) % P
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P) % P
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def _times(scalar: int, point: Point) -> Point:
    total: Point | None = None
    addend: Point | None = point
    while scalar:
        if scalar & 1:
            total = _add(total, addend)
        addend = _add(addend, addend)
        scalar >>= 1
    assert total is not None
    return total


# -- DER (ITU-T X.690) ------------------------------------------------------------------------------


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def _integer(value: int) -> bytes:
    return _der(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _oid(dotted: str) -> bytes:
    first, second, *rest = (int(part) for part in dotted.split("."))
    content = [40 * first + second]
    for part in rest:
        septets = [part & 0x7F]
        while part := part >> 7:
            septets.append(0x80 | part & 0x7F)
        content += reversed(septets)
    return _der(0x06, bytes(content))


def _sequence(*parts: bytes) -> bytes:
    return _der(0x30, *parts)


def _bits(content: bytes) -> bytes:
    return _der(0x03, b"\0", content)


def _time(moment: datetime) -> bytes:
    return _der(0x17, moment.strftime("%y%m%d%H%M%SZ").encode())


def _name(common_name: str) -> bytes:
    return _sequence(_der(0x31, _sequence(_oid("2.5.4.3"), _der(0x0C, common_name.encode()))))


def _extension(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    return _sequence(_oid(oid), _der(0x01, b"\xff") if critical else b"", _der(0x04, value))


_EC_KEY = _sequence(_oid("1.2.840.10045.2.1"), _oid("1.2.840.10045.3.1.7"))
_ECDSA_SHA256 = _sequence(_oid("1.2.840.10045.4.3.2"))


# -- keys and certificates ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """A P-256 key pair."""

    secret: int

    @classmethod
    def new(cls) -> Key:
        """A fresh one."""
        return cls(1 + secrets.randbelow(N - 1))

    @property
    def point(self) -> bytes:
        """The public key, uncompressed (SEC 1 §2.3.3)."""
        x, y = _times(self.secret, G)
        return b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big")

    def sign(self, data: bytes) -> bytes:
        """An ECDSA signature with SHA-256 (FIPS 186-4 §6.4)."""
        digest = int.from_bytes(hashlib.sha256(data).digest(), "big")
        while True:
            k = 1 + secrets.randbelow(N - 1)
            r = _times(k, G)[0] % N
            s = pow(k, -1, N) * (digest + r * self.secret) % N
            if r and s:
                return _sequence(_integer(r), _integer(s))

    def pem(self) -> str:
        """The key pair as PEM (RFC 5915)."""
        curve = _der(0xA0, _oid("1.2.840.10045.3.1.7"))
        private = _der(0x04, self.secret.to_bytes(32, "big"))
        return _pem("EC PRIVATE KEY", _sequence(_integer(1), private, curve, _der(0xA1, _bits(self.point))))


def _pem(label: str, data: bytes) -> str:
    text = base64.b64encode(data).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


class Authority:
    """Issues certificates and trusts its own."""

    def __init__(self, home: Path, name: str = "conformance CA") -> None:
        self._name = name
        self._key = Key.new()
        self._home = home
        home.mkdir(parents=True, exist_ok=True)
        constraints = _extension("2.5.29.19", _sequence(_der(0x01, b"\xff")), critical=True)
        usage = _extension("2.5.29.15", _der(0x03, b"\x01\x06"), critical=True)
        self.ca_file = home / "ca.pem"
        self.ca_file.write_text(self._certificate(name, self._key, constraints + usage))

    def _certificate(self, subject: str, key: Key, extensions: bytes) -> str:
        now = datetime.now(UTC)
        body = _sequence(
            _der(0xA0, _integer(2)),
            _integer(secrets.randbits(63) + 1),
            _ECDSA_SHA256,
            _name(self._name),
            _sequence(_time(now - timedelta(hours=1)), _time(now + timedelta(days=2))),
            _name(subject),
            _sequence(_EC_KEY, _bits(key.point)),
            _der(0xA3, _sequence(extensions)),
        )
        return _pem("CERTIFICATE", _sequence(body, _ECDSA_SHA256, _bits(self._key.sign(body))))

    def issue(self, host: str) -> tuple[Path, Path]:
        """Files with a certificate for a host name or address, and with its key."""
        try:
            name = _der(0x87, ipaddress.ip_address(host).packed)
        except ValueError:
            name = _der(0x82, host.encode())
        key = Key.new()
        certificate = self._home / f"{host}.pem"
        key_file = self._home / f"{host}.key"
        certificate.write_text(self._certificate(host, key, _extension("2.5.29.17", _sequence(name))))
        key_file.write_text(key.pem())
        return certificate, key_file

    def server_context(self, host: str) -> ssl.SSLContext:
        """For a listener that is ``host``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue(host))
        return context

    def client_context(self) -> ssl.SSLContext:
        """For a client that trusts this authority alone, and checks names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca_file)
        return context
