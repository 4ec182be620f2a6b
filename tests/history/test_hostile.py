from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.history.making import write
from vb.errors import InvalidField
from vb.history.edge import list_calls
from vb.history.model import PaginatedCallList
from vb.history.store import Store

HOSTILE = [
    '"',
    "' OR '1'='1",
    "a* OR b*",
    "NEAR(a b, 5)",
    "words:hello",
    "hello AND NOT good",
    "he'llo & !x | (y <-> z)",
    "a:*",
    "\\",
    "hello\u200bworld",
    "½ ① ﬁ",
    "ก็ 漢字 かな",
    "😀 hello",
    "\u202ehello",
    "^hello$",
    "{hello}",
    "-hello",
    "+49 (30) 123-456",
    "ı İ ß ǆ",
    "a" * 256,
]


def answer(store: Store, pairs: list[tuple[str, str]]) -> PaginatedCallList | InvalidField:
    try:
        return list_calls(store, pairs)
    except InvalidField as exc:
        return exc


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_search_is_words_or_one_error(store: Store, text: str) -> None:
    store.write([write(1, texts=(text,), metadata={"X-Note": text}), write(2, texts=("something else",))])
    found = answer(store, [("search", text)])
    if isinstance(found, InvalidField):
        assert found.field == "search"
        return
    assert [call.metadata.get("X-Note") for call in found.results] == [text]
    assert found.total == 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.text(min_size=1, max_size=40), value=st.text(max_size=40))
def test_metadata_is_found_by_exactly_what_it_is(store: Store, key: str, value: str) -> None:
    pairs = [(f"metadata.{key}", value)]
    found = answer(store, pairs)
    if isinstance(found, InvalidField):
        assert found.field == "metadata"
        return
    before = found.total or 0
    number = (list_calls(store, []).total or 0) + 1
    store.write([write(number, metadata={key: value})])
    assert list_calls(store, pairs).total == before + 1
    other = [(f"metadata.{key}", f"{value}x")]
    assert all(call.metadata != {key: value} for call in list_calls(store, other).results)
