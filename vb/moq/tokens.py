"""Authorization tokens in requests. We ask for none and keep none: a session was let in before.

Spec: draft-ietf-moq-transport-11 section 8.2.1.1.
"""

from __future__ import annotations

from typing import Final

from vb.moq.codes import MoqError, RequestCode, SessionCode
from vb.moq.wire import AUTHORIZATION_TOKEN, Incomplete, Parameters, Reader

_DELETE: Final = 0x0
_REGISTER: Final = 0x1
_USE_ALIAS: Final = 0x2
_USE_VALUE: Final = 0x3


def token_problem(parameters: Parameters) -> RequestCode | None:
    """Return why a request is refused for one of its tokens; None when there is no reason.

    Raises:
        MoqError: one is to be kept, for which we have offered no room.
    """
    for kind, value in parameters:
        if kind == AUTHORIZATION_TOKEN and isinstance(value, bytes):
            problem = _problem(Reader(value))
            if problem is not None:
                return problem
    return None


def _problem(reader: Reader) -> RequestCode | None:
    try:
        form = reader.varint()
        if form in (_DELETE, _REGISTER, _USE_ALIAS):
            reader.varint()
        if form in (_REGISTER, _USE_VALUE):
            reader.varint()
    except Incomplete:
        return RequestCode.MALFORMED_AUTH_TOKEN
    if form == _REGISTER:
        raise MoqError(SessionCode.AUTH_TOKEN_CACHE_OVERFLOW, "no token is kept here")
    if form in (_DELETE, _USE_ALIAS):
        return RequestCode.MALFORMED_AUTH_TOKEN if reader.left else RequestCode.UNKNOWN_AUTH_TOKEN_ALIAS
    return None if form == _USE_VALUE else RequestCode.MALFORMED_AUTH_TOKEN
