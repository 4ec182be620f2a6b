"""Which destinations may be called: an ordered-by-length list of number prefixes and hosts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

_SEPARATORS = str.maketrans("", "", "-.() ")
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
    refused, unless all rules are refusals. Without rules everything is allowed.

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
            host: its host, an IPv6 address without brackets.
        """
        user, host = _plain(user or ""), host.lower().rstrip(".")
        for rule in self._rules:
            if rule.matches(user, host):
                return rule.allowed
        return self._default


def _rule(text: str) -> _Rule:
    match = _ENTRY.fullmatch(text)
    if match is None or not (match["prefix"] or match["host"]):
        raise ValueError(f"{text!r} is not a prefix, @host or prefix@host")
    host = (match["host"] or "").lower().strip("[]").rstrip(".")
    return _Rule(_plain(match["prefix"]), host, not match["no"])


def _plain(user: str) -> str:
    """Return a user part without what makes two spellings of one number differ.

    Escapes are undone, visual separators left out, and only what comes before parameters counts.
    """
    return unquote(user).partition(";")[0].translate(_SEPARATORS).lower()
