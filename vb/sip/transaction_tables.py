"""The four state machines of transactions as tables: state → event → what is sent, where it leads, who hears.

What a state does not list is ignored in it. Differences from the figures are marked; tests hold the tables
against the figures.

Spec: RFC 3261 §17, figures 5 to 8; RFC 6026 §7 for the Accepted state.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from typing import Final, NamedTuple

from vb.sip.timers import T4_S, TIMEOUT_S

COMPLETED_LINGER_S: Final = 32.0
"""Timer D: how long a refused INVITE of ours acknowledges repetitions of the refusal."""


class TransactionState(StrEnum):
    """The states of all four machines."""

    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    ACCEPTED = "accepted"
    TERMINATED = "terminated"


class TransactionEvent(StrEnum):
    """What happens to a transaction; a client receives responses, a server's user gives them."""

    PROVISIONAL = "1xx"
    SUCCESS = "2xx"
    REFUSAL = "300-699"
    REQUEST = "the request came again"
    ACK = "an ACK came"
    REPEAT_DUE = "timer A, E or G"
    END_DUE = "timer B, D, F, H, I, J, K, L or M"
    TRANSPORT_ERROR = "the peer cannot be reached"


class Sends(Enum):
    """What goes out on an event."""

    NOTHING = "nothing"
    REQUEST = "the request"
    ACK = "the ACK of a refusal"
    RESPONSE = "the newest response"
    TRYING = "a 100"


class Rule(NamedTuple):
    """What an event does in a state, in this order.

    Attributes:
        sends: what goes out.
        state: where it leads.
        tells: the user hears of it.
    """

    sends: Sends
    state: TransactionState
    tells: bool = False


class Machine(NamedTuple):
    """One kind of transaction.

    Attributes:
        first: its state at the beginning.
        rules: what events do; states in the order of the figure.
        lingers: how long a state that only absorbs repetitions lasts, over UDP and over other transports.
    """

    first: TransactionState
    rules: Mapping[TransactionState, Mapping[TransactionEvent, Rule]]
    lingers: Mapping[TransactionState, tuple[float, float]]


# Short names keep a row on a line.
_S, _E = TransactionState, TransactionEvent
_SILENT, _REQUEST, _ACK, _RESPONSE = Sends.NOTHING, Sends.REQUEST, Sends.ACK, Sends.RESPONSE
_GONE: Final = Rule(_SILENT, _S.TERMINATED)
_FAILED: Final = Rule(_SILENT, _S.TERMINATED, tells=True)

INVITE_CLIENT: Final = Machine(
    _S.CALLING,
    {
        _S.CALLING: {
            _E.REPEAT_DUE: Rule(_REQUEST, _S.CALLING),
            _E.END_DUE: _FAILED,
            _E.TRANSPORT_ERROR: _FAILED,
            _E.PROVISIONAL: Rule(_SILENT, _S.PROCEEDING, tells=True),
            _E.SUCCESS: Rule(_SILENT, _S.ACCEPTED, tells=True),
            _E.REFUSAL: Rule(_ACK, _S.COMPLETED, tells=True),
        },
        _S.PROCEEDING: {
            _E.END_DUE: _FAILED,  # not in the figure: the user may set an end (RFC 3261 §9.1)
            _E.TRANSPORT_ERROR: _FAILED,  # not in the figure: the connection that the response needs is gone
            _E.PROVISIONAL: Rule(_SILENT, _S.PROCEEDING, tells=True),
            _E.SUCCESS: Rule(_SILENT, _S.ACCEPTED, tells=True),
            _E.REFUSAL: Rule(_ACK, _S.COMPLETED, tells=True),
        },
        # The figure tells the user when an ACK cannot be delivered; the call is over, so nobody would care.
        _S.COMPLETED: {
            _E.END_DUE: _GONE,
            _E.REFUSAL: Rule(_ACK, _S.COMPLETED),
        },
        _S.ACCEPTED: {
            _E.END_DUE: _GONE,
            _E.SUCCESS: Rule(_SILENT, _S.ACCEPTED, tells=True),
        },
        _S.TERMINATED: {},
    },
    {_S.COMPLETED: (COMPLETED_LINGER_S, 0.0), _S.ACCEPTED: (TIMEOUT_S, TIMEOUT_S)},
)
"""Spec: RFC 3261 figure 5, RFC 6026 §7.2."""

NON_INVITE_CLIENT: Final = Machine(
    _S.TRYING,
    {
        _S.TRYING: {
            _E.REPEAT_DUE: Rule(_REQUEST, _S.TRYING),
            _E.END_DUE: _FAILED,
            _E.TRANSPORT_ERROR: _FAILED,
            _E.PROVISIONAL: Rule(_SILENT, _S.PROCEEDING, tells=True),
            _E.SUCCESS: Rule(_SILENT, _S.COMPLETED, tells=True),
            _E.REFUSAL: Rule(_SILENT, _S.COMPLETED, tells=True),
        },
        _S.PROCEEDING: {
            _E.REPEAT_DUE: Rule(_REQUEST, _S.PROCEEDING),
            _E.END_DUE: _FAILED,
            _E.TRANSPORT_ERROR: _FAILED,
            _E.PROVISIONAL: Rule(_SILENT, _S.PROCEEDING, tells=True),
            _E.SUCCESS: Rule(_SILENT, _S.COMPLETED, tells=True),
            _E.REFUSAL: Rule(_SILENT, _S.COMPLETED, tells=True),
        },
        _S.COMPLETED: {_E.END_DUE: _GONE},
        _S.TERMINATED: {},
    },
    {_S.COMPLETED: (T4_S, 0.0)},
)
"""Spec: RFC 3261 figure 6."""

INVITE_SERVER: Final = Machine(
    _S.PROCEEDING,
    {
        _S.PROCEEDING: {
            _E.REQUEST: Rule(_RESPONSE, _S.PROCEEDING),
            _E.REPEAT_DUE: Rule(Sends.TRYING, _S.PROCEEDING),  # the 100 that §17.2.1 asks for in time
            _E.PROVISIONAL: Rule(_RESPONSE, _S.PROCEEDING),
            _E.SUCCESS: Rule(_RESPONSE, _S.ACCEPTED),
            _E.REFUSAL: Rule(_RESPONSE, _S.COMPLETED),
        },
        # The figures tell the user of transport errors; over UDP nobody learns of one, and a broken
        # connection is the call's own matter.
        _S.COMPLETED: {
            _E.REQUEST: Rule(_RESPONSE, _S.COMPLETED),
            _E.REPEAT_DUE: Rule(_RESPONSE, _S.COMPLETED),
            _E.END_DUE: _FAILED,
            _E.ACK: Rule(_SILENT, _S.CONFIRMED, tells=True),
        },
        _S.CONFIRMED: {_E.END_DUE: _GONE},
        # The call repeats its 2xx by itself, and absorbs the INVITE that comes again (RFC 6026 §7.1).
        _S.ACCEPTED: {
            _E.END_DUE: _GONE,
            _E.ACK: Rule(_SILENT, _S.ACCEPTED, tells=True),
        },
        _S.TERMINATED: {},
    },
    {_S.CONFIRMED: (T4_S, 0.0), _S.ACCEPTED: (TIMEOUT_S, TIMEOUT_S)},
)
"""Spec: RFC 3261 figure 7, RFC 6026 §7.1."""

NON_INVITE_SERVER: Final = Machine(
    _S.TRYING,
    {
        _S.TRYING: {
            _E.PROVISIONAL: Rule(_RESPONSE, _S.PROCEEDING),
            _E.SUCCESS: Rule(_RESPONSE, _S.COMPLETED),
            _E.REFUSAL: Rule(_RESPONSE, _S.COMPLETED),
        },
        _S.PROCEEDING: {
            _E.REQUEST: Rule(_RESPONSE, _S.PROCEEDING),
            _E.PROVISIONAL: Rule(_RESPONSE, _S.PROCEEDING),
            _E.SUCCESS: Rule(_RESPONSE, _S.COMPLETED),
            _E.REFUSAL: Rule(_RESPONSE, _S.COMPLETED),
        },
        _S.COMPLETED: {
            _E.REQUEST: Rule(_RESPONSE, _S.COMPLETED),
            _E.END_DUE: _GONE,
        },
        _S.TERMINATED: {},
    },
    {_S.COMPLETED: (TIMEOUT_S, 0.0)},
)
"""Spec: RFC 3261 figure 8."""


# Looked up once: to Python 3.11 the member of an enumeration is a slow property.
_PROVISIONAL, _SUCCESS, _REFUSAL = _E.PROVISIONAL, _E.SUCCESS, _E.REFUSAL


def response_event(status: int) -> TransactionEvent:
    """Return the event that a response is."""
    if status < 200:
        return _PROVISIONAL
    return _SUCCESS if status < 300 else _REFUSAL
