"""Addresses of S3-compatible servers, and which of them plain http may be spoken to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

from vb.web.policy import DEFAULT_PORTS, authority_of

_SCHEMES: Final = ("http", "https")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,253}")
_PATH = re.compile(r"[A-Za-z0-9._~/-]*")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens.

    Attributes:
        scheme: http or https.
        host: name or address, without brackets.
        port: TCP port.
        path: what every path begins with, no slash at its end.
    """

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        return authority_of(self.scheme, self.host, self.port)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_endpoint(url: str) -> Endpoint:
    """Take the URL of a server apart.

    Raises:
        ValueError: it is no http or https URL of a host, or carries more than a plain path.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if ":" in host:
            host = "" if "%" in host else str(IPv6Address(host))  # a zone means something on one machine only
    except ValueError:
        raise ValueError("must be an http or https URL") from None
    known = ":" in host or _NAME.fullmatch(host)
    if parts.scheme not in _SCHEMES or not known or not url.isprintable() or " " in url or port == 0:
        raise ValueError("must be an http or https URL")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("must have no query, fragment or credentials")
    if not _PATH.fullmatch(parts.path):
        raise ValueError("must have a plain path")
    return Endpoint(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], parts.path.rstrip("/"))


def check_endpoint(url: str, *, allow_insecure: bool) -> str:
    """Return the endpoint in its one spelling, without a slash at its end.

    Recordings and signatures do not cross the public Internet in the clear: plain http is for loopback and
    private addresses and for names of one label, which only a local resolver knows. Whether a request may
    lead to such a host at all is not decided here.

    Raises:
        ValueError: it is no http or https URL of a host, carries more than a path, or is insecure.
    """
    endpoint = parse_endpoint(url)
    if endpoint.scheme == "http" and not allow_insecure and not _is_local(endpoint.host):
        raise ValueError("must use https on a public host")
    return str(endpoint)


def _is_local(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host.rstrip(".")
    return address.is_loopback or address.is_private or address.is_link_local
