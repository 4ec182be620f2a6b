"""Messages of any content."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

from hypothesis import strategies as st

from vb.moq import fields as kinds
from vb.moq.fields import Filter, Joining, Range
from vb.moq.messages import MESSAGES, Message
from vb.moq.wire import Location
from vb.quic.varint import MAX_VARINT

numbers = st.integers(0, MAX_VARINT)
octets = st.integers(0, 255)
names = st.binary(max_size=60)
namespaces = st.lists(st.binary(max_size=20), min_size=1, max_size=32).map(tuple)
places = st.builds(Location, numbers, numbers)
pairs = st.one_of(
    st.tuples(st.integers(4, 1000).map(lambda n: 2 * n), numbers),
    st.tuples(st.integers(4, 1000).map(lambda n: 2 * n + 1), names),
)
parameters = st.lists(pairs, max_size=5).map(tuple)
filters = st.one_of(
    st.builds(Filter, st.sampled_from([1, 2])),
    st.builds(Filter, st.just(3), places),
    st.builds(Filter, st.just(4), places, numbers),
)
fetched = st.one_of(
    st.builds(Range, namespaces, names, places, places),
    st.builds(Joining, st.sampled_from([2, 3]), numbers, numbers),
)
STRATEGIES: dict[Any, st.SearchStrategy[Any]] = {
    kinds.Number: numbers,
    kinds.Byte: octets,
    kinds.Flag: st.booleans(),
    kinds.Name: names,
    kinds.Uri: names,
    kinds.Reason: st.text(st.characters(exclude_categories=["Cs"]), max_size=100),
    kinds.Named: namespaces,
    kinds.Place: places,
    kinds.SetupParameters: parameters,
    kinds.RequestParameters: parameters,
    kinds.Wanted: filters,
    kinds.Largest: st.none() | places,
    kinds.Fetched: fetched,
    kinds.Versions: st.lists(numbers, min_size=1, max_size=5).map(tuple),
    kinds.Order: st.integers(0, 2),
    kinds.ChosenOrder: st.integers(1, 2),
}


def _any(kind: type[Message]) -> st.SearchStrategy[Message]:
    hints = get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{one.name: STRATEGIES[hints[one.name]] for one in fields(kind)})


messages = st.sampled_from(list(MESSAGES.values())).flatmap(_any)
