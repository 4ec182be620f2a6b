"""DTLS 1.2 on datagrams, for the keys of SRTP: a handshake in either role, and the peer's certificate judged.

OpenSSL computes it on memory buffers. Three traps are handled here:

- A memory buffer keeps no borders of datagrams. What OpenSSL writes is cut again where records begin, and
  records are packed up to the MTU. What comes in is handed over one datagram at a time.
- Its retransmission timer runs on the system's clock, and pyOpenSSL has no way to set it. `deadline` asks it
  how long it will wait and adds that to `now`; when it is not ready at that time it is asked again. Copies
  of old datagrams would be no substitute: records that repeat a number are dropped as replays.
- The certificate callback gets the connection, which is why what it needs hangs there, and not on this
  object: no reference circle keeps a dead leg in memory.

Spec: RFC 6347, RFC 5764, RFC 8842, RFC 8827 §6.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto

from vb.sdp.dtls import DtlsRole
from vb.sdp.fingerprint import Fingerprint
from vb.webrtc.certificate import Identity, matches

Role = DtlsRole

MTU_BYTES: Final = 1200
MAX_DATAGRAM_BYTES: Final = 4096
HANDSHAKE_LIMIT_S: Final = 30.0

_DTLS_1_2: Final = 0xFEFD
_EXPORTER: Final = b"EXTRACTOR-dtls_srtp"
_RECORD_HEADER_BYTES: Final = 13
_MAX_DISCARDED_RECORDS: Final = 64
_CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"


class SrtpProfile(Enum):
    """Ways to protect SRTP, with the sizes of master key and salt; the best first."""

    AEAD_AES_128_GCM = (b"SRTP_AEAD_AES_128_GCM", 16, 12)
    AEAD_AES_256_GCM = (b"SRTP_AEAD_AES_256_GCM", 32, 12)
    AES128_CM_SHA1_80 = (b"SRTP_AES128_CM_SHA1_80", 16, 14)
    AES128_CM_SHA1_32 = (b"SRTP_AES128_CM_SHA1_32", 16, 14)

    def __init__(self, openssl_name: bytes, key_bytes: int, salt_bytes: int) -> None:
        self.openssl_name = openssl_name
        self.key_bytes = key_bytes
        self.salt_bytes = salt_bytes


PROFILES: Final = tuple(SrtpProfile)


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """What a handshake is made for; master keys with their salts behind them."""

    profile: SrtpProfile
    send: bytes = field(repr=False)
    receive: bytes = field(repr=False)


class DtlsState(Enum):
    """How far a connection is."""

    NEW = auto()
    HANDSHAKE = auto()
    CONNECTED = auto()
    CLOSED = auto()
    """The peer, or we, said goodbye."""
    FAILED = auto()


class DtlsContext:
    """What all connections of a server share.

    Args:
        identity: our certificate.
        profiles: of SRTP, the best first.
    """

    def __init__(self, identity: Identity, profiles: Sequence[SrtpProfile] = PROFILES) -> None:
        self.identity = identity
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_min_proto_version(_DTLS_1_2)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_cipher_list(_CIPHERS)
        context.use_certificate(identity.certificate)
        context.use_privatekey(identity.key)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _judge_certificate)
        # A resumed session would skip the certificate, and renegotiation would change it.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
        context.set_tlsext_use_srtp(b":".join(profile.openssl_name for profile in profiles))
        self.openssl = context


@dataclass(slots=True)
class _Expected:
    """What the peer's certificate must be, and whether it was."""

    fingerprints: tuple[Fingerprint, ...]
    matched: bool = False


def _judge_certificate(
    connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
) -> bool:
    """Accept whom the description announced: nobody else has signed the certificate."""
    if depth:
        return True
    expected: _Expected = connection.get_app_data()
    der = certificate.to_cryptography().public_bytes(Encoding.DER)
    expected.matched = matches(der, expected.fingerprints)
    return expected.matched


class Dtls:
    """One connection.

    Args:
        role: the client sends the first message.
        fingerprints: of the peer's certificate.

    Attributes:
        keys: once connected; only then is the peer known to be the one of the description.
        failure: what went wrong, in a few words.
        dropped: datagrams that came too late, too early, or too large.
    """

    def __init__(
        self,
        context: DtlsContext,
        role: Role,
        fingerprints: Sequence[Fingerprint],
        *,
        mtu_bytes: int = MTU_BYTES,
    ) -> None:
        self.role = role
        self.state = DtlsState.NEW
        self.keys: SrtpKeys | None = None
        self.failure: str | None = None
        self.dropped = 0
        self._mtu_bytes = mtu_bytes
        self._expected = _Expected(tuple(fingerprints))
        self._connection = SSL.Connection(context.openssl, None)
        self._connection.set_app_data(self._expected)
        self._connection.set_ciphertext_mtu(mtu_bytes)
        if role == "client":
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()
        self._started_at = 0.0
        self._timer_at: float | None = None
        self._out: list[bytes] = []

    def start(self, now: float) -> None:
        """Begin the handshake: the client's first message goes out."""
        if self.state is DtlsState.NEW:
            self.state = DtlsState.HANDSHAKE
            self._started_at = now
            self._handshake(now)

    def receive(self, data: bytes, now: float) -> None:
        """Take one datagram of the peer, whose address the caller has validated."""
        if (
            self.state not in (DtlsState.HANDSHAKE, DtlsState.CONNECTED)
            or not 0 < len(data) <= MAX_DATAGRAM_BYTES
        ):
            self.dropped += 1
            return
        self._connection.bio_write(data)
        if self.state is DtlsState.HANDSHAKE:
            self._handshake(now)
        if self.state is DtlsState.CONNECTED:
            self._discard()
            self._collect()

    def close(self) -> None:
        """Tell the peer goodbye, once there is somebody to tell."""
        if self.state is DtlsState.CONNECTED:
            try:
                self._connection.shutdown()
            except SSL.Error:
                pass
            self._collect()
        if self.state is not DtlsState.FAILED:
            self.state = DtlsState.CLOSED
        self._timer_at = None

    def outgoing(self) -> list[bytes]:
        """Take the datagrams to send."""
        out, self._out = self._out, []
        return out

    def deadline(self) -> float | None:
        """Return when `expire` is to be called next."""
        if self.state is not DtlsState.HANDSHAKE:
            return None
        limit = self._started_at + HANDSHAKE_LIMIT_S
        return limit if self._timer_at is None else min(limit, self._timer_at)

    def expire(self, now: float) -> None:
        """Send again what was not answered, or give up."""
        if self.state is not DtlsState.HANDSHAKE:
            return
        if now >= self._started_at + HANDSHAKE_LIMIT_S:
            self._fail("the handshake took too long")
        elif self._timer_at is not None and now >= self._timer_at:
            try:
                self._connection.DTLSv1_handle_timeout()
            except SSL.Error:
                self._fail("the peer does not answer the handshake")
                return
            self._collect()
            self._set_timer(now)

    def _handshake(self, now: float) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self._collect()
            self._set_timer(now)
        except SSL.Error as error:
            self._collect()
            self._fail(self._reason(error))
        else:
            self._collect()
            self._connected()

    def _connected(self) -> None:
        self._timer_at = None
        name = self._connection.get_selected_srtp_profile()
        profile = next((item for item in PROFILES if item.openssl_name == name), None)
        if profile is None:
            self._fail("no way to protect media in common")
        elif not self._expected.matched:
            self._fail("the certificate was not judged")
        else:
            self.state = DtlsState.CONNECTED
            self.keys = self._export(profile)

    def _export(self, profile: SrtpProfile) -> SrtpKeys:
        """Returns the keys: client's, server's, then the salts (RFC 5764 §4.2)."""
        key, salt = profile.key_bytes, profile.salt_bytes
        material = self._connection.export_keying_material(_EXPORTER, 2 * (key + salt))
        salts = material[2 * key :]
        client = material[:key] + salts[:salt]
        server = material[key : 2 * key] + salts[salt:]
        send, receive = (client, server) if self.role == "client" else (server, client)
        return SrtpKeys(profile, send, receive)

    def _discard(self) -> None:
        """Read what comes after the handshake: nothing is meant for us but the peer's goodbye."""
        for _ in range(_MAX_DISCARDED_RECORDS):
            try:
                self._connection.recv(MAX_DATAGRAM_BYTES)
            except SSL.WantReadError:
                return
            except SSL.ZeroReturnError:
                self.close()
                return
            except SSL.Error as error:
                self._fail(self._reason(error))
                return
            self.dropped += 1

    def _set_timer(self, now: float) -> None:
        wait_s = self._connection.DTLSv1_get_timeout()
        self._timer_at = None if wait_s is None else now + wait_s

    def _reason(self, error: SSL.Error) -> str:
        """Returns OpenSSL's reason, or ours for a certificate that is not the announced one."""
        reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
        text = "; ".join(str(item[-1]) for item in reasons) or type(error).__name__
        if "certificate verify failed" in text:
            return "the certificate is not that of the description"
        return text

    def _fail(self, reason: str) -> None:
        self.state = DtlsState.FAILED
        self.failure = reason
        self.keys = None
        self._timer_at = None

    def _collect(self) -> None:
        """Cut what OpenSSL has written into datagrams at the borders of records."""
        datagram = b""
        for record in self._records():
            if datagram and len(datagram) + len(record) > self._mtu_bytes:
                self._out.append(datagram)
                datagram = b""
            datagram += record
        if datagram:
            self._out.append(datagram)

    def _records(self) -> list[bytes]:
        chunks = []
        while True:
            try:
                chunks.append(self._connection.bio_read(65_536))
            except SSL.WantReadError:
                break
        stream = b"".join(chunks)
        records = []
        at = 0
        while at + _RECORD_HEADER_BYTES <= len(stream):
            end = at + _RECORD_HEADER_BYTES + int.from_bytes(stream[at + 11 : at + 13])
            records.append(stream[at:end])
            at = end
        return records
