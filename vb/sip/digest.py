"""Digest authentication, the client's half.  Spec: RFC 3261 §22, RFC 7616, RFC 8760."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vb.sip.errors import SipParseError
from vb.sip.headers import quote, unquote
from vb.sip.message import Headers, Response

_FIELD = re.compile(r"\s*+([A-Za-z0-9_-]++)\s*+=\s*+(\"(?:[^\"\\]|\\.)*\"|[^\s,\"]*+)\s*+(?:,|$)", re.DOTALL)
_HASHES: dict[str, Callable[[bytes], str]] = {
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
}
AUTHORIZATIONS = frozenset({"authorization", "proxy-authorization"})
MAX_ATTEMPTS = 4
"""How often one request is sent again because of a challenge: two proxies, the callee, one stale nonce."""
_MAX_KNOWN = 16
"""Realms and nonces of one set of credentials that are remembered; peers choose how many they name."""
_MAX_CHALLENGES = 8
"""Of one response; more are left unread."""
_HEADERS = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}


@dataclass(frozen=True, slots=True)
class Credentials:
    """Name and password for every realm that asks."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.username!r})"


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge; `algorithm` is as sent, None when the peer named none (MD5)."""

    realm: str
    nonce: str
    algorithm: str | None = None
    opaque: str | None = None
    qop: tuple[str, ...] = ()
    stale: bool = False

    @property
    def hash_name(self) -> str:
        """Name of the hash: the algorithm without `-sess`."""
        return (self.algorithm or "MD5").upper().removesuffix("-SESS")

    @property
    def is_usable(self) -> bool:
        """Whether we know its algorithm, and its qop allows plain authentication."""
        return self.hash_name in _HASHES and (not self.qop or "auth" in self.qop)


def parse_challenge(value: str) -> Challenge:
    """Parse a WWW-Authenticate or Proxy-Authenticate value.

    Raises:
        SipParseError: if it is not a Digest challenge with realm and nonce.
    """
    scheme, *further = value.split(None, 1) or [""]  # any linear white space parts them (RFC 3261 §25.1)
    rest = further[0].rstrip() if further else ""
    if scheme.lower() != "digest":
        raise SipParseError("not a Digest challenge")
    fields: dict[str, str] = {}
    position = 0
    while position < len(rest):
        match = _FIELD.match(rest, position)
        if match is None or match[1].lower() in fields:
            raise SipParseError("bad Digest challenge")
        fields[match[1].lower()] = unquote(match[2])
        position = match.end()
    if "realm" not in fields or not fields.get("nonce"):
        raise SipParseError("Digest challenge without realm or nonce")
    return Challenge(
        realm=fields["realm"],
        nonce=fields["nonce"],
        algorithm=fields.get("algorithm"),
        opaque=fields.get("opaque"),
        qop=tuple(item.strip().lower() for item in fields.get("qop", "").split(",") if item.strip()),
        stale=fields.get("stale", "").lower() == "true",
    )


def authorization(
    challenge: Challenge, credentials: Credentials, method: str, uri: str, *, cnonce: str, nonce_count: int
) -> str:
    """Return the value of Authorization or Proxy-Authorization that answers a challenge.

    Spec: RFC 7616 §3.4; the order of fields is free.
    """
    digest = _HASHES[challenge.hash_name]
    ha1 = digest(f"{credentials.username}:{challenge.realm}:{credentials.password}".encode())
    if (challenge.algorithm or "").upper().endswith("-SESS"):
        ha1 = digest(f"{ha1}:{challenge.nonce}:{cnonce}".encode())
    ha2 = digest(f"{method}:{uri}".encode())
    count = f"{nonce_count:08x}"
    middle = f"{challenge.nonce}:{count}:{cnonce}:auth" if challenge.qop else challenge.nonce
    fields = [
        f"username={quote(credentials.username)}",
        f"realm={quote(challenge.realm)}",
        f"nonce={quote(challenge.nonce)}",
        f"uri={quote(uri)}",
        f'response="{digest(f"{ha1}:{middle}:{ha2}".encode())}"',
    ]
    if challenge.algorithm is not None:
        fields.append(f"algorithm={challenge.algorithm}")
    if challenge.qop:
        fields += [f'cnonce="{cnonce}"', "qop=auth", f"nc={count}"]
    elif (challenge.algorithm or "").upper().endswith("-SESS"):
        fields.append(f'cnonce="{cnonce}"')
    if challenge.opaque is not None:
        fields.append(f"opaque={quote(challenge.opaque)}")
    return "Digest " + ", ".join(fields)


class DigestClient:
    """Answers challenges with one set of credentials and counts the uses of each nonce.

    A nonce has one cnonce of ours: the session algorithms make their key of the first one, and a server may
    keep that key.  Spec: RFC 7616 §3.4.2.
    """

    __slots__ = ("_credentials", "_known", "_new_cnonce", "_uses")

    def __init__(self, credentials: Credentials, new_cnonce: Callable[[], str]) -> None:
        self._credentials = credentials
        self._new_cnonce = new_cnonce
        self._uses: dict[str, tuple[str, int]] = {}
        self._known: dict[tuple[str, str], Challenge] = {}

    def answer(
        self, response: Response, method: str, uri: str, sent: Headers, attempt: int
    ) -> list[tuple[str, str]] | None:
        """Return every authorization of the next attempt, None when there is no use in it.

        What the challenged request said to other realms is said again: proxies and the callee may each
        want theirs (RFC 3261 §22.3).

        Args:
            sent: headers of the request that was challenged. A realm that refused our credentials
                before is answered again only if it says that just the nonce was stale.
            attempt: how many times the request was answered with a challenge before.
        """
        names = _HEADERS.get(response.status)
        if names is None or attempt >= MAX_ATTEMPTS:
            return None
        spoken = {
            (header, realm)
            for _, header in _HEADERS.values()
            for value in sent.get_all(header)
            if (realm := _realm_of(value)) is not None
        }
        wanted: dict[tuple[str, str], Challenge] = {}
        for challenge in _challenges(response.headers.get_all(names[0])):
            key = (names[1], challenge.realm)
            if key in wanted or not challenge.is_usable:
                continue  # the first usable one of a realm is the one its server prefers
            if key in spoken and not challenge.stale:
                return None
            wanted[key] = challenge
        if not wanted:
            return None
        again = {key: known for key, known in self._known.items() if key in spoken and key not in wanted}
        self._known = dict(list({**self._known, **wanted}.items())[-_MAX_KNOWN:])
        return [
            (header, self._authorize(challenge, method, uri))
            for (header, _), challenge in {**again, **wanted}.items()
        ]

    def _authorize(self, challenge: Challenge, method: str, uri: str) -> str:
        known = self._uses.get(challenge.nonce)
        if known is None and len(self._uses) >= _MAX_KNOWN:
            del self._uses[next(iter(self._uses))]
        cnonce, count = known if known is not None else (self._new_cnonce(), 0)
        self._uses[challenge.nonce] = cnonce, count + 1
        return authorization(challenge, self._credentials, method, uri, cnonce=cnonce, nonce_count=count + 1)


def _challenges(values: Sequence[str]) -> list[Challenge]:
    found = []
    for value in values[:_MAX_CHALLENGES]:
        try:
            found.append(parse_challenge(value))
        except SipParseError:
            continue
    return found


def _realm_of(value: str) -> str | None:
    match = re.search(r'realm="((?:[^"\\]|\\.)*)"', value)
    return None if match is None else unquote(f'"{match[1]}"')
