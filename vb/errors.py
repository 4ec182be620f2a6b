"""Errors that vb answers with: each class carries its HTTP status, so no central switch is needed.

Protocol packages define their own named errors; commands translate them into these before they leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class VbError(Exception):
    """Base of every error that a caller of vb may see.

    `status` is the HTTP status and the VSI error code; `retry_after_s` tells when to try again, if that is
    known.
    """

    status: ClassVar[int] = 500
    retry_after_s: int | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        """Be copied and pickled whatever the arguments of the class are."""
        return _unchanged, (type(self), self.args), self.__dict__


def _unchanged(kind: type[VbError], args: tuple[object, ...]) -> VbError:
    return kind.__new__(kind, *args)


class BadRequest(VbError):
    """The request itself is wrong; nothing was done."""

    status = 400


class InvalidField(BadRequest):
    """One field of the request is missing or has a wrong type or value.

    Args:
        field: its name; dots lead to what lies inside it.
        problem: what is wrong with it.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem

    def renamed(self, names: Mapping[str, str]) -> InvalidField:
        """Return the same error in other words: `names` maps fields to what the caller calls them."""
        outer, dot, inner = self.field.partition(".")
        return InvalidField(f"{names.get(outer, outer)}{dot}{inner}", self.problem)


class Forbidden(VbError):
    """The caller may not do this."""

    status = 403


class NotFound(VbError):
    """The named leg, room, playback or recording does not exist."""

    status = 404


class Conflict(VbError):
    """The request is fine but the state of its target does not allow it."""

    status = 409


class TooManyRequests(VbError):
    """The caller has used up what it may have for now.

    Args:
        message: what is used up.
        retry_after_s: seconds for the Retry-After header.
    """

    status = 429

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s: int = retry_after_s


class InternalError(VbError):
    """The server failed; the details are in its log, never in the answer."""

    status = 500


class NotAvailable(VbError):
    """A described feature that this server does not have."""

    status = 501


class Unavailable(VbError):
    """The server has no room for this now; the caller may try again.

    Args:
        message: what is exhausted.
        retry_after_s: seconds for the Retry-After header.
    """

    status = 503

    def __init__(self, message: str, *, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s: int = retry_after_s


class ConfigError(VbError):
    """A setting cannot be used; the message is one line that names it."""


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error that a group holds, however deep it lies."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def leaves_of(error: BaseException) -> list[BaseException]:
    """Return the errors that a group holds, however deep they lie; of any other error itself."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for each in error.exceptions for leaf in leaves_of(each)]
