import pytest

from vb.providers.failure import category_of_status


@pytest.mark.parametrize(
    ("status", "category"),
    [
        (401, "permanent_auth"),
        (403, "permanent_auth"),
        (400, "permanent_input"),
        (404, "permanent_input"),
        (422, "permanent_input"),
        (429, "rate_limited"),
        (500, "service_unavailable"),
        (504, "service_unavailable"),
        (529, "service_unavailable"),
        (408, "retryable"),
        (302, "unknown"),
    ],
)
def test_status_has_the_category_that_says_what_can_be_done(status: int, category: str) -> None:
    assert category_of_status(status) == category
