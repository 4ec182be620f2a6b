"""Which addresses of an S3-compatible server are taken."""

from ipaddress import ip_address
from urllib.parse import urlsplit


def check_endpoint(url: str, *, allow_insecure: bool) -> str:
    """Return the endpoint without a trailing slash.

    Recordings and signatures do not cross the public Internet in the clear: plain http is for loopback and
    private addresses and for names of one label, which only a local resolver knows.

    Raises:
        ValueError: it is no http or https URL of a host, carries more than a path, or is insecure.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("must be an http or https URL") from None
    if parts.scheme not in ("http", "https") or not host or not url.isprintable() or " " in url:
        raise ValueError("must be an http or https URL")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("must have no query, fragment or credentials")
    if parts.scheme == "http" and not allow_insecure and not _is_local(host):
        raise ValueError("must use https on a public host")
    return url.rstrip("/")


def _is_local(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host.rstrip(".")
    return address.is_loopback or address.is_private or address.is_link_local
