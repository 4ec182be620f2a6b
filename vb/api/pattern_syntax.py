"""The syntax of client expressions: RE2 without captures, parsed into a small tree."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Final

MAX_PATTERN_CHARS: Final = 256
_MAX_REPEAT: Final = 1000
_MAX_DEPTH: Final = 50
_END_OF_UNICODE: Final = 0x10FFFF

Ranges = tuple[tuple[int, int], ...]

_DIGITS: Final[Ranges] = ((48, 57),)
_WORD: Final[Ranges] = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE: Final[Ranges] = ((9, 10), (12, 13), (32, 32))
_CLASSES: Final = {"d": _DIGITS, "w": _WORD, "s": _SPACE}
_POSIX: Final[dict[str, Ranges]] = {
    "alnum": ((48, 57), (65, 90), (97, 122)),
    "alpha": ((65, 90), (97, 122)),
    "ascii": ((0, 127),),
    "blank": ((9, 9), (32, 32)),
    "cntrl": ((0, 31), (127, 127)),
    "digit": _DIGITS,
    "graph": ((33, 126),),
    "lower": ((97, 122),),
    "print": ((32, 126),),
    "punct": ((33, 47), (58, 64), (91, 96), (123, 126)),
    "space": ((9, 13), (32, 32)),
    "upper": ((65, 90),),
    "word": _WORD,
    "xdigit": ((48, 57), (65, 70), (97, 102)),
}
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_WORD_CHARS: Final = frozenset(string.ascii_letters + string.digits + "_")


class PatternError(ValueError):
    """The expression is malformed or asks for more than RE2 has."""


@dataclass(frozen=True, slots=True)
class CharSet:
    """One character out of some ranges."""

    ranges: Ranges
    negated: bool = False
    fold_case: bool = False

    def __contains__(self, char: str) -> bool:
        found = self._holds(char) or (
            self.fold_case and (self._holds(char.lower()) or self._holds(char.upper()))
        )
        return found is not self.negated

    def _holds(self, char: str) -> bool:
        # Case mappings may give several characters, which no single range means.
        return len(char) == 1 and any(low <= ord(char) <= high for low, high in self.ranges)


@dataclass(frozen=True, slots=True)
class Assertion:
    """A condition between two characters: text_start, text_end, line_start, line_end, word or not_word."""

    kind: str

    def holds(self, before: str, after: str) -> bool:
        """Say whether it holds between two characters; the empty text stands for an end of the text."""
        if self.kind == "text_start":
            return not before
        if self.kind == "text_end":
            return not after
        if self.kind == "line_start":
            return before in ("", "\n")
        if self.kind == "line_end":
            return after in ("", "\n")
        at_edge = (before in _WORD_CHARS) is not (after in _WORD_CHARS)
        return at_edge is (self.kind == "word")


@dataclass(frozen=True, slots=True)
class Sequence:
    """One node after the other."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """Any one of several nodes."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A node `least` to `most` times; None means without end."""

    item: Node
    least: int
    most: int | None


Node = CharSet | Assertion | Sequence | Alternatives | Repeat


@dataclass(frozen=True, slots=True)
class _Flags:
    fold_case: bool = False
    multi_line: bool = False
    dot_all: bool = False


def parse(expression: str) -> Node:
    """Parse an expression.

    Raises:
        PatternError: it is malformed, too long, or uses what RE2 does not have.
    """
    if len(expression) > MAX_PATTERN_CHARS:
        raise PatternError(f"expression longer than {MAX_PATTERN_CHARS} characters")
    parser = _Parser(expression)
    node = parser.alternatives(_Flags(), 0)
    if parser.peek():
        raise PatternError("unexpected )")
    return node


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def peek(self, length: int = 1) -> str:
        return self._text[self._at : self._at + length]

    def take(self) -> str:
        char = self.peek()
        if not char:
            raise PatternError("expression ends too early")
        self._at += 1
        return char

    def skip(self, token: str) -> bool:
        if self._text.startswith(token, self._at):
            self._at += len(token)
            return True
        return False

    def until(self, token: str) -> str:
        end = self._text.find(token, self._at)
        if end < 0:
            raise PatternError(f"missing {token}")
        found = self._text[self._at : end]
        self._at = end + len(token)
        return found

    def alternatives(self, flags: _Flags, depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise PatternError("expression nested too deeply")
        branches: list[Node] = []
        items: list[Node] = []
        while (char := self.peek()) and char != ")":
            if self.skip("|"):
                branches.append(Sequence(tuple(items)))
                items = []
            elif self.skip(r"\Q"):
                quoted = self.until(r"\E") if r"\E" in self._text[self._at :] else self._rest()
                items += [_single(char, flags) for char in quoted]
            elif (changed := self._flag_group(flags)) is not None:
                flags = changed
            else:
                items.append(self._repeated(self._atom(flags, depth)))
        branches.append(Sequence(tuple(items)))
        return branches[0] if len(branches) == 1 else Alternatives(tuple(branches))

    def _rest(self) -> str:
        rest, self._at = self._text[self._at :], len(self._text)
        return rest

    def _flag_group(self, flags: _Flags) -> _Flags | None:
        """Read `(?flags)`, which holds to the end of the enclosing group."""
        if self.peek(2) != "(?":
            return None
        end = self._at + 2
        while self._text[end : end + 1] in tuple("imsU-"):
            end += 1
        if self._text[end : end + 1] != ")" or end == self._at + 2:
            return None
        letters = self._text[self._at + 2 : end]
        self._at = end + 1
        return _apply_flags(flags, letters)

    def _repeated(self, node: Node) -> Node:
        limits = self._quantifier()
        if limits is None:
            return node
        self.skip("?")
        if self.peek() in ("*", "+", "?"):
            raise PatternError("a repetition cannot be repeated")
        return Repeat(node, *limits)

    def _quantifier(self) -> tuple[int, int | None] | None:
        simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        char = self.peek()
        if char in simple:
            self._at += 1
            return simple[char]
        if char != "{":
            return None
        inner, closed, _ = self._text[self._at + 1 :].partition("}")
        least, comma, most = inner.partition(",")
        digits = least.isascii() and least.isdigit() and (not most or (most.isascii() and most.isdigit()))
        if not closed or not digits:
            return None
        self._at += len(inner) + 2
        low = int(least[:5])
        high = low if not comma else int(most[:5]) if most else None
        if max(low, high or 0) > _MAX_REPEAT or (high is not None and high < low):
            raise PatternError("bad repetition count")
        return low, high

    def _atom(self, flags: _Flags, depth: int) -> Node:
        char = self.take()
        if char == "(":
            return self._group(flags, depth)
        if char == "[":
            return self._bracket(flags)
        if char == ".":
            return CharSet(() if flags.dot_all else ((10, 10),), negated=True)
        if char == "^":
            return Assertion("line_start" if flags.multi_line else "text_start")
        if char == "$":
            return Assertion("line_end" if flags.multi_line else "text_end")
        if char == "\\":
            return self._escape(flags)
        if char in "*+?":
            raise PatternError(f"nothing to repeat before {char}")
        return _single(char, flags)

    def _group(self, flags: _Flags, depth: int) -> Node:
        if self.skip("?"):
            if self.peek() in ("=", "!") or self.peek(2) in ("<=", "<!"):
                raise PatternError("look-around is not supported")
            if self.skip("P<") or self.skip("<"):
                if not self.until(">").isidentifier():
                    raise PatternError("bad group name")
            else:
                flags = _apply_flags(flags, self.until(":"))
        node = self.alternatives(flags, depth + 1)
        if not self.skip(")"):
            raise PatternError("missing )")
        return node

    def _escape(self, flags: _Flags) -> Node:
        char = self.take()
        assertions = {"A": "text_start", "z": "text_end", "b": "word", "B": "not_word"}
        if char in assertions:
            return Assertion(assertions[char])
        if char.lower() in _CLASSES:
            return CharSet(_CLASSES[char.lower()], negated=char.isupper())
        return _single(self._literal_escape(char), flags)

    def _literal_escape(self, char: str) -> str:
        if char in _ESCAPES:
            return _ESCAPES[char]
        if char == "x":
            digits = self.until("}") if self.skip("{") else self.take() + self.take()
            if (
                not digits
                or not set(digits) <= set(string.hexdigits)
                or int(digits[:9], 16) > _END_OF_UNICODE
            ):
                raise PatternError("bad \\x escape")
            return chr(int(digits, 16))
        if char == "0":
            return "\0"
        if char in "123456789":
            raise PatternError("back-references are not supported")
        if char.isalnum():
            raise PatternError(f"unknown escape \\{char}")
        return char

    def _bracket(self, flags: _Flags) -> Node:
        negated = self.skip("^")
        ranges: list[tuple[int, int]] = []
        first = True
        while first or self.peek() != "]":
            first = False
            if self.skip("[:"):
                ranges += _posix(self.until(":]"))
                continue
            low = self._bracket_item()
            if not isinstance(low, str):
                ranges += low
                continue
            high: str | list[tuple[int, int]] = low
            if self.peek() == "-" and self.peek(2) != "-]":
                self.take()
                high = self._bracket_item()
            if not isinstance(high, str) or ord(high) < ord(low):
                raise PatternError("bad character range")
            ranges.append((ord(low), ord(high)))
        self.take()
        return CharSet(tuple(ranges), negated, flags.fold_case)

    def _bracket_item(self) -> str | list[tuple[int, int]]:
        char = self.take()
        if char != "\\":
            return char
        char = self.take()
        if char.lower() in _CLASSES:
            ranges = _CLASSES[char.lower()]
            return list(_complement(ranges) if char.isupper() else ranges)
        return self._literal_escape(char)


def _apply_flags(flags: _Flags, letters: str) -> _Flags:
    on, _, off = letters.partition("-")
    if not set(on + off) <= set("imsU"):
        raise PatternError("unknown group flags")

    def value(letter: str, now: bool) -> bool:
        return (letter in on or now) and letter not in off

    return _Flags(value("i", flags.fold_case), value("m", flags.multi_line), value("s", flags.dot_all))


def _single(char: str, flags: _Flags) -> CharSet:
    return CharSet(((ord(char), ord(char)),), fold_case=flags.fold_case)


def _posix(name: str) -> Ranges:
    ranges = _POSIX.get(name.removeprefix("^"))
    if ranges is None:
        raise PatternError(f"unknown class [:{name}:]")
    return _complement(ranges) if name.startswith("^") else ranges


def _complement(ranges: Ranges) -> Ranges:
    inverse: list[tuple[int, int]] = []
    start = 0
    for low, high in ranges:
        if low > start:
            inverse.append((start, low - 1))
        start = high + 1
    inverse.append((start, _END_OF_UNICODE))
    return tuple(inverse)
