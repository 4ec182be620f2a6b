"""Events of the call history."""

from __future__ import annotations

from pydantic import Field

from vb.events.base import Event, LegEvent


class CallRecorded(LegEvent, type="call.recorded"):
    """A call that is over lies in the call history; `get_call` shows it from now on.

    Comes after `leg.disconnected`, once a call. It may come again, from another process, for a call whose
    server was killed.
    """

    call_id: str = Field(description="identifier of the call in the history")


class HistoryFailed(Event, type="history.failed"):
    """A part of the call history does not work: what is to be stored waits, and no call is affected."""

    part: str = Field(
        description="queue: what waits on the disk; database: where calls lie; process: who writes them"
    )
    error: str = Field(description="why")


class HistoryRecovered(Event, type="history.recovered"):
    """A part of the call history works again; what waited is stored."""

    part: str = Field(description="queue, database or process")
