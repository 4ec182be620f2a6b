"""Times and durations as the history counts them: microseconds, since 1970 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

SECOND_US: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_us(moment: datetime) -> int:
    """Return an aware time in microseconds."""
    return (moment - _EPOCH) // _MICROSECOND


def from_us(time_us: int) -> datetime:
    """Return the time of a count of microseconds."""
    return _EPOCH + timedelta(microseconds=time_us)


def event_time_us(timestamp: str) -> int:
    """Return the time of an event's envelope; digits below a microsecond are cut off.

    Raises:
        ValueError: it is no RFC 3339 time in UTC.
    """
    whole, _, fraction = timestamp.removesuffix("Z").partition(".")
    seconds = to_us(datetime.fromisoformat(whole).replace(tzinfo=UTC))
    return seconds + int(fraction[:6].ljust(6, "0")) if fraction else seconds


def duration_text(duration_us: int) -> str:
    """Return a duration such as `90s` or `1.250s`: with no, three or six decimals, as many as it needs."""
    seconds, rest = divmod(max(0, duration_us), SECOND_US)
    if rest == 0:
        return f"{seconds}s"
    return f"{seconds}.{rest // 1000:03d}s" if rest % 1000 == 0 else f"{seconds}.{rest:06d}s"
