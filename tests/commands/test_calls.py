from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from vb.commands.calls import PageSize

SIZES: TypeAdapter[Any] = TypeAdapter(PageSize)


@pytest.mark.parametrize("text", ["1_0", " 5", "5 ", "+5", "5.0", "\u0665", "-1", "", "501"])
def test_the_size_of_a_page_is_digits_and_nothing_else(text: str) -> None:
    with pytest.raises(ValidationError):
        SIZES.validate_python(text, strict=False)  # as queries are read


@pytest.mark.parametrize("value", ["5", "005", 5])
def test_a_size_may_be_a_number_or_its_digits(value: object) -> None:
    assert SIZES.validate_python(value, strict=False) == 5
