"""Whom a certificate speaks for.  Spec: RFC 5922 §7."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

from vb.sip.errors import SipParseError
from vb.sip.uri import is_ip_address, parse_uri


def names_host(certificate: Mapping[str, object] | None, host: str) -> bool:
    """Tell whether a verified certificate, in the form of the `ssl` module, names a host.

    Names are those of subjectAltName: SIP URIs without a user, DNS names, IP addresses. Wildcards and the
    common name count for nothing.

    Spec: RFC 5922 §7.1, §7.2 (no wildcards); RFC 9525 §2 (no common name).
    """
    names = (certificate or {}).get("subjectAltName")
    if not isinstance(names, tuple):
        return False
    wanted = _plain(host)
    return any(_name_of(str(kind), str(value)) == wanted for kind, value in names)


def _name_of(kind: str, value: str) -> str | None:
    if kind in ("DNS", "IP Address"):
        return _plain(value)
    if kind != "URI":
        return None
    try:
        uri = parse_uri(value)
    except SipParseError:
        return None
    return _plain(uri.host) if uri.user is None else None


def _plain(host: str) -> str:
    """Return a host as it can be compared."""
    host = host.strip("[]")
    if is_ip_address(host):
        try:
            return str(ip_address(host))
        except ValueError:
            return host
    return host.rstrip(".").lower()
