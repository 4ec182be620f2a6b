"""What names lead to: the kinds of records that are asked for, and what is said of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["address", "SRV", "NAPTR"]


@dataclass(frozen=True, slots=True)
class Srv:
    """One server of a service; a target of "." says that there is none.  Spec: RFC 2782."""

    priority: int
    weight: int
    port: int
    target: str


@dataclass(frozen=True, slots=True)
class Naptr:
    """One way on from a domain; `replacement` is the name to go on with.  Spec: RFC 3403 §4.1."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


Record: TypeAlias = str | Srv | Naptr
"""Addresses are text."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The records of one kind that a name has, the best first; none is an answer too.

    Attributes:
        ttl_s: how long they may be kept; None = nobody said.
    """

    records: tuple[Record, ...] = ()
    ttl_s: float | None = None


class LookupFailed(OSError):
    """Nobody could say what a name has; it may be known another time."""
