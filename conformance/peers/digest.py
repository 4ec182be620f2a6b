"""Digest authentication as a challenging peer checks it (RFC 2617 with qop=auth, MD5)."""

from __future__ import annotations

import hashlib
import re


def parameters_of(header: str) -> dict[str, str]:
    """The parameters of an Authorization or WWW-Authenticate value, unquoted."""
    found = re.findall(r'(\w+)=(?:"([^"]*)"|([^,\s]+))', header.split(" ", 1)[1])
    return {name.lower(): quoted or bare for name, quoted, bare in found}


def challenge(nonce: str, realm: str = "test", *, stale: bool = False) -> str:
    """The value of a WWW-Authenticate or Proxy-Authenticate header."""
    late = ", stale=true" if stale else ""
    return f'Digest realm="{realm}", nonce="{nonce}", algorithm=MD5, qop="auth"{late}'


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def is_right(header: str, method: str, password: str) -> bool:
    """Whether an Authorization value proves knowledge of ``password``."""
    given = parameters_of(header)
    try:
        ha1 = _md5(f"{given['username']}:{given['realm']}:{password}")
        ha2 = _md5(f"{method}:{given['uri']}")
        if given.get("qop") == "auth":
            response = _md5(f"{ha1}:{given['nonce']}:{given['nc']}:{given['cnonce']}:auth:{ha2}")
        else:
            response = _md5(f"{ha1}:{given['nonce']}:{ha2}")
    except KeyError:
        return False
    return response == given.get("response")
