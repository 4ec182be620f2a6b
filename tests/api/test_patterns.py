from __future__ import annotations

import re
import string
import time
import warnings

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vb.api.patterns import MAX_TEXT_CHARS, Pattern, PatternError


@pytest.mark.parametrize(
    ("expression", "text", "found"),
    [
        ("foo", "a foo b", True),
        ("foo", "fo", False),
        ("^$", "", True),
        ("^$", "x", False),
        ("", "anything", True),
        ("^tenant-[0-9]+$", "tenant-42", True),
        ("^tenant-[0-9]+$", "tenant-42x", False),
        ("a|bc|", "", True),
        ("^(a|bc)$", "bc", True),
        ("^(?:ab){2,3}$", "ababab", True),
        ("^(?:ab){2,3}$", "ab", False),
        ("^a{3}$", "aaa", True),
        ("^a{2,}$", "aaaaa", True),
        ("^a{0}$", "", True),
        ("^x{,2}$", "x{,2}", True),
        ("^a??b*?c+?$", "bbc", True),
        ("^[^a-c]$", "d", True),
        ("^[^a-c]$", "b", False),
        ("^[]a]$", "]", True),
        ("^[a-]$", "-", True),
        (r"^[\d\-x]+$", "1-x", True),
        (r"^[\D]$", "1", False),
        ("^[[:upper:]]+$", "ABC", True),
        ("^[[:^digit:]]$", "4", False),
        (r"^\w+\s\S\W$", "ab c!", True),
        (r"^\D\d$", "x1", True),
        (r"\bfoo\b", "a foo.", True),
        (r"\bfoo\b", "afoo", False),
        (r"\Boo\b", "foo", True),
        (r"\Afoo\z", "foo", True),
        (r"\Qa.b\E$", "a.b", True),
        (r"\Qa.b", "axb", False),
        (r"^\x41\x{1F600}$", "A\U0001f600", True),
        (r"^\.\n\t\0$", ".\n\t\0", True),
        ("(?i)FOO", "xfoo", True),
        ("(?i:f)oo", "Foo", True),
        ("(?i:f)oo", "FOO", False),
        ("(?i)[a-z]", "Q", True),
        ("(?i)(?-i)a", "A", False),
        ("^.$", "\n", False),
        ("(?s)^.$", "\n", True),
        ("(?m)^b$", "a\nb\nc", True),
        ("(?P<name>a)(?<other>b)", "ab", True),
        ("^(((a)*)*)*$", "aaa", True),
    ],
)
def test_an_expression_finds_what_re2_finds(expression: str, text: str, found: bool) -> None:
    assert Pattern(expression).search(text) is found


@pytest.mark.parametrize(
    "expression",
    [
        "(", ")", "a)", "(a", "[", "[a", "[b-a]", "[[:nope:]]", r"[a-\d]", "*", "a|*", "a**", "a+*", "+a",
        "a{2,1}", "a{1001}", r"\1", r"(a)\1", "(?=a)", "(?!a)", "(?<=a)", "(?<!a)", r"\pX", r"\x{110000}",
        r"\xg0", "\\", "(?P<>a)", "(?y:a)", "(?#x)", "a" * 257, "(a{1000}){1000}", "(a?b?c?){500}",
        r"\C", r"\\\C", r"\Qa\E\C", r"\Z", "\ud800",
    ],
)  # fmt: skip
def test_a_malformed_or_unbounded_expression_is_refused(expression: str) -> None:
    with pytest.raises(PatternError):
        Pattern(expression)


@pytest.mark.parametrize(
    "expression", ["^(a+)+$", "(a|a)*b", "^(a|aa)+$x", "a*a*a*a*a*a*b", "(.*)(.*)(.*)(.*)x$", "(x+x+)+y"]
)
def test_a_catastrophic_expression_takes_linear_time(expression: str) -> None:
    started = time.perf_counter()
    Pattern(expression).search("a" * MAX_TEXT_CHARS + "!")
    assert time.perf_counter() - started < 0.1


@pytest.mark.parametrize("expression", ["(?:a?){330}a{330}", "([a-z]?){250}!", "(.?){120}!", r"\pL+"])
def test_the_largest_expressions_take_little_time(expression: str) -> None:
    pattern = Pattern(expression)
    texts = ["a" * MAX_TEXT_CHARS, "".join(string.ascii_lowercase[n * 7 % 26] for n in range(300)), "é" * 300]
    for text in texts:
        started = time.process_time()
        pattern.search(text)
        assert time.process_time() - started < 0.05


def test_only_the_first_characters_of_a_text_count() -> None:
    pattern = Pattern("b")
    assert pattern.search("a" * (MAX_TEXT_CHARS - 1) + "b")
    assert not pattern.search("a" * MAX_TEXT_CHARS + "b")


def test_half_a_surrogate_pair_in_a_text_is_one_odd_character() -> None:
    assert Pattern("^a.c$").search("a\ud800c")


@pytest.mark.parametrize("expression", [r"\\C", r"\Q\C", r"\Q\C\Ex", "C"])
def test_a_backslash_or_a_letter_that_is_meant_literally_stays(expression: str) -> None:
    assert Pattern(expression).search(r"\Cx")


@pytest.mark.parametrize(("char", "found"), [("é", True), ("É", False), ("K", True), ("k", False)])
def test_sets_hold_characters_beyond_ascii(char: str, found: bool) -> None:
    assert Pattern("^[K-Lß-ö]$").search(char) is found


def test_many_different_texts_do_not_grow_the_memory_of_a_pattern() -> None:
    pattern = Pattern("^a.*z$")
    for number in range(10_000):
        pattern.search(f"a{number}z")
    assert pattern._verdict.cache_info().currsize <= 256


@settings(max_examples=400, deadline=None)
@given(
    st.text(alphabet="ab1|()*+?.^$[]{},-\\bdw ", max_size=9),
    st.text(alphabet="ab1- ", max_size=7),
)
def test_what_both_engines_accept_they_judge_alike(expression: str, text: str) -> None:
    assume("{," not in expression)  # a literal in RE2, a repetition in Python
    assume(not re.search(r"[*+?}]\+|\?\?\d", expression))  # possessive in Python
    try:
        pattern = Pattern(expression)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            reference = re.compile(expression)
    except (PatternError, re.error, FutureWarning):
        assume(False)
    assert pattern.search(text) is bool(reference.search(text))
