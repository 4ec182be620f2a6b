"""TLS for SIP: contexts from files, and the handshake on either side.  Spec: RFC 3261 §26.3, RFC 5922."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog
import trio
from cryptography import x509

from vb.errors import ConfigError
from vb.sip.hop import Hop
from vb.sip.tls_identity import names_host

log = structlog.get_logger(__name__)

HANDSHAKE_TIMEOUT_S = 5.0
_CERTIFICATES: Final = tuple(b"-----BEGIN %sCERTIFICATE-----" % kind for kind in (b"", b"TRUSTED ", b"X509 "))
"""What OpenSSL takes for one."""
TlsStream = trio.SSLStream[trio.SocketStream]


@dataclass(frozen=True, slots=True)
class Tls:
    """What connections over TLS need.

    Attributes:
        server: for connections to us.
        client: for connections of ours; shows our certificate to peers that ask for one.
        verify: peers that we connect to must prove who they are.
    """

    server: ssl.SSLContext
    client: ssl.SSLContext
    verify: bool = True


def load_tls(certificate: str, key: str, *, ca_file: str = "", verify: bool = True) -> Tls:
    """Read certificates and key.

    Args:
        certificate: path of our certificate chain (PEM).
        key: path of its key (PEM).
        ca_file: path of further trust anchors for connections of ours; "" = the system's only.
        verify: whether peers that we connect to must have a valid certificate with their name.

    Raises:
        ConfigError: a file cannot be used; the message names the setting.
    """
    chain = _read("SIP_TLS_CERT", certificate, _CERTIFICATES, "certificate")
    _read("SIP_TLS_KEY", key, (b"PRIVATE KEY-----",), "key")
    server = _context(ssl.PROTOCOL_TLS_SERVER)
    client = _context(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False  # `names_host` does it by the rules of SIP
    client.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    for context in (server, client):
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ValueError) as error:
            raise ConfigError(f"SIP_TLS_CERT, SIP_TLS_KEY: {_problem(error)}") from None
    _warn_of_time(chain)
    client.load_default_certs()
    if ca_file:
        _read("SIP_TLS_CA_FILE", ca_file, (b"-----BEGIN ",), "certificate")
        try:
            client.load_verify_locations(ca_file)
        except (OSError, ValueError) as error:
            raise ConfigError(f"SIP_TLS_CA_FILE: {_problem(error)}") from None
    return Tls(server, client, verify)


def _read(setting: str, path: str, marks: tuple[bytes, ...], what: str) -> bytes:
    """Return what lies in a file; OpenSSL would tell neither which one is missing nor what is.

    Raises:
        ConfigError: it cannot be read, or is no PEM file of its kind.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting}: {path}: {error.strerror}") from None
    if not any(mark in content for mark in marks):
        raise ConfigError(f"{setting}: {path}: holds no {what} in PEM")
    return content


def _warn_of_time(chain: bytes) -> None:
    """Log that our certificate does not hold now: far ends refuse it, and we would hear nothing of why."""
    try:
        ours = x509.load_pem_x509_certificates(chain)[0]
    except ValueError:  # OpenSSL has taken it
        return
    since, until = ours.not_valid_before_utc, ours.not_valid_after_utc
    if not since <= datetime.now(UTC) <= until:
        log.warning("sip_tls_certificate_not_valid", since=since.isoformat(), until=until.isoformat())


def _context(protocol: ssl._SSLMethod) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _problem(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return f"{error.strerror or error}"
    return str(error) or "not a PEM file that fits"


async def greet(stream: trio.SocketStream, tls: Tls) -> TlsStream | None:
    """Do the handshake with a peer that connected; None if it fails or takes too long."""
    return await _handshake(trio.SSLStream(stream, tls.server, server_side=True, https_compatible=True))


async def introduce(stream: trio.SocketStream, tls: Tls, peer: Hop) -> TlsStream | None:
    """Do the handshake with a peer that we connected to; None if it fails or the peer is somebody else."""
    name = peer.server_name or peer.host
    secured = await _handshake(
        trio.SSLStream(stream, tls.client, server_hostname=name, https_compatible=True), name
    )
    if secured is None or not tls.verify or names_host(secured.getpeercert(), name):
        return secured
    log.warning("sip_tls_refused", peer=name, problem="the certificate names somebody else")
    return None


async def _handshake(stream: TlsStream, name: str = "") -> TlsStream | None:
    with trio.move_on_after(HANDSHAKE_TIMEOUT_S):
        try:
            await stream.do_handshake()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            if name:
                log.warning("sip_tls_refused", peer=name, problem=str(error.__cause__ or error))
            return None
        return stream
    return None
