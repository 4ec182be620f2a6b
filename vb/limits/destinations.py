"""Which destinations may be called: an ordered-by-length list of number prefixes and hosts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from urllib.parse import unquote

_SEPARATORS = str.maketrans("", "", "-.() ")
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)")
_ENTRY = re.compile(r"(?P<no>!?)(?P<prefix>[^@!\s]*)(?:@(?P<host>[^@!\s]+))?")


@dataclass(frozen=True, slots=True)
class _Rule:
    prefix: str
    host: str
    allowed: bool

    def matches(self, user: str, host: str) -> bool:
        return user.startswith(self.prefix) and self.host in ("", host)

    @property
    def weight(self) -> tuple[int, bool, bool]:
        """How much it counts among the rules that match; a refusal wins over its own opposite."""
        return len(self.prefix), bool(self.host), not self.allowed


class Destinations:
    """A list of rules, of which the longest that matches decides.

    A rule is `prefix`, `@host` or `prefix@host`, with `!` before it to refuse. What no rule matches is
    refused, unless all rules are refusals. Without rules everything is allowed. Two spellings of one address
    are the same; those that only old resolvers take (hexadecimal, octal, short forms) match no rule and are
    refused.

    Args:
        rules: the list as text.

    Raises:
        ValueError: an item cannot be read; the message names it.
    """

    def __init__(self, rules: Iterable[str] = ()) -> None:
        found = [_rule(text) for text in rules]
        self._rules = sorted(found, key=lambda rule: rule.weight, reverse=True)
        self._default = not any(rule.allowed for rule in found)

    def allow(self, user: str | None, host: str) -> bool:
        """Return whether a destination may be called.

        Args:
            user: user part of its URI, as it stands there.
            host: its host.
        """
        if not self._rules:
            return True
        user, known = _plain(user or ""), _plain_host(host)
        if known is None:
            return False
        for rule in self._rules:
            if rule.matches(user, known):
                return rule.allowed
        return self._default


def _rule(text: str) -> _Rule:
    match = _ENTRY.fullmatch(text)
    if match is None or not (match["prefix"] or match["host"]):
        raise ValueError(f"{text!r} is not a prefix, @host or prefix@host")
    host = _plain_host(match["host"] or "")
    if host is None:
        raise ValueError(f"{text!r} has an address that is not four decimal numbers")
    return _Rule(_plain(match["prefix"]), host, not match["no"])


def _plain_host(text: str) -> str | None:
    """Return a host without what makes two spellings of one differ, None for an address in an odd spelling.

    No name ends in a number, but getaddrinfo takes 0xa.0.0.1, 012.0.0.1, 10.1 and the like for addresses.
    """
    host = text.lower().strip("[]").rstrip(".")
    try:
        address = ip_address(host)
    except ValueError:
        return None if _ENDS_IN_NUMBER.fullmatch(host) else host
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _plain(user: str) -> str:
    """Return a user part without what makes two spellings of one number differ.

    Escapes are undone, visual separators left out, and only what comes before parameters counts.
    """
    return unquote(user).partition(";")[0].translate(_SEPARATORS).lower()
