from __future__ import annotations

from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from vb.commands.query import read_query, split_query
from vb.errors import InvalidField
from vb.parameters import Params, prefixed


class Search(Params):
    size: Annotated[int, Field(ge=1, le=100)] = 10
    ids: list[str] | None = None
    exact: bool = False
    from_: str | None = Field(default=None, alias="from")
    metadata: list[tuple[str, str]] | None = prefixed("metadata.", "pairs that must be there")


def test_a_number_is_read_from_its_text() -> None:
    assert read_query(Search, [("size", "25")]) == {"size": 25}


def test_a_list_takes_every_value_of_its_key_in_order() -> None:
    assert read_query(Search, [("ids", "b"), ("size", "1"), ("ids", "a")]) == {"ids": ["b", "a"], "size": 1}


def test_a_key_that_is_no_list_comes_once() -> None:
    with pytest.raises(InvalidField, match="size: is given twice"):
        read_query(Search, [("size", "1"), ("size", "2")])


def test_keys_with_a_prefix_are_collected_as_pairs() -> None:
    pairs = [("metadata.shop", "7"), ("metadata.shop", "8"), ("metadata.", "nothing follows")]
    assert read_query(Search, pairs) == {"metadata": [("shop", "7"), ("shop", "8"), ("", "nothing follows")]}


@pytest.mark.parametrize(
    ("raw", "pairs"),
    [
        (b"", []),
        (b"a=1&&b=&c&=d&a=2=3", [("a", "1"), ("b", ""), ("c", ""), ("", "d"), ("a", "2=3")]),
        (b"a=x+y%20z%2b%26&%61=%zz", [("a", "x y z+&"), ("a", "%zz")]),
        ("a=ä%C3%A4".encode(), [("a", "ää")]),
    ],
)
def test_a_query_is_split_and_decoded(raw: bytes, pairs: list[tuple[str, str]]) -> None:
    assert split_query(raw) == pairs


@pytest.mark.parametrize(
    ("raw", "named"), [(b"ids=1&from=%FF", "from"), (b"from=%ED%A0%80", "from"), (b"%FF=1", "query")]
)
def test_what_is_no_text_is_refused_by_the_name_of_its_key(raw: bytes, named: str) -> None:
    with pytest.raises(InvalidField, match=f"^{named}: is no valid text"):
        split_query(raw)


def test_unknown_keys_are_left_out_and_names_are_those_of_clients() -> None:
    assert read_query(Search, [("from", "me"), ("from_", "you"), ("colour", "red")]) == {"from": "me"}


@pytest.mark.parametrize(
    ("key", "text"), [("size", "ten"), ("size", "0"), ("size", ""), ("exact", "perhaps"), ("size", "1e400")]
)
def test_a_value_of_another_type_is_refused_by_the_name_of_its_key(key: str, text: str) -> None:
    with pytest.raises(InvalidField) as caught:
        read_query(Search, [(key, text)])
    assert caught.value.field == key


def test_what_was_read_fits_the_model() -> None:
    values = read_query(Search, [("size", "5"), ("exact", "true"), ("ids", "x"), ("metadata.a", "b")])
    search = Search.model_validate(values)
    assert (search.size, search.exact, search.ids, search.metadata) == (5, True, ["x"], [("a", "b")])


@given(st.lists(st.tuples(st.sampled_from(["size", "ids", "exact", "from", "metadata.x", "?"]), st.text())))
def test_any_query_is_read_or_refused(pairs: list[tuple[str, str]]) -> None:
    refused: InvalidField | None = None
    try:
        Search.model_validate(read_query(Search, pairs))
    except InvalidField as error:
        refused = error
    assert refused is None or refused.field in ("size", "exact", "from")
