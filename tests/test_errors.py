"""Errors as objects of Python."""

from __future__ import annotations

import copy
import pickle

import pytest

from vb.errors import BadRequest, InvalidField, TooManyRequests, Unavailable, VbError


@pytest.mark.parametrize(
    "error",
    [
        BadRequest("x"),
        InvalidField("id", "is required"),
        TooManyRequests("x", retry_after_s=3),
        Unavailable("x", retry_after_s=7),
    ],
)
def test_an_error_survives_a_copy_and_a_way_to_another_process(error: VbError) -> None:
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error)
        assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))
