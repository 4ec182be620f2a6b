"""Who has which channel in a recording with one channel per participant."""

from __future__ import annotations

from dataclasses import dataclass

from vb.events.media import ChannelInfo
from vb.legs.leg import Leg
from vb.recording.recorder import ChannelSink, Recorder
from vb.recording.recording_writer import MAX_PARTICIPANTS
from vb.rooms.room import Room


@dataclass(slots=True)
class _Participant:
    """One leg's channel; `end_ms` is None while it is in the room."""

    sink: ChannelSink
    channel: int
    start_ms: int
    end_ms: int | None = None


class Participants:
    """Gives every leg of a room a channel, in the order in which they joined the recording.

    A leg that leaves and comes back goes on in the channel that it had.

    Args:
        room: whose members are followed.
        recorder: channel 0 is the mix, the next ones are the participants'.
    """

    def __init__(self, room: Room, recorder: Recorder) -> None:
        self._room = room
        self._recorder = recorder
        self._known: dict[str, _Participant] = {}
        self._omitted: list[str] = []

    def start(self) -> None:
        """Listen in on everybody who is there, and on those who will come."""
        self._room.watchers = (*self._room.watchers, self)
        for leg in self._room.members.values():
            self.joined(leg)

    def stop(self) -> None:
        """Stop listening in; harmless when it is over already."""
        self._room.watchers = tuple(other for other in self._room.watchers if other is not self)
        for leg in self._room.members.values():
            self.left(leg)

    def joined(self, leg: Leg) -> None:
        """Give a leg a channel, or the one that it had."""
        if self._recorder.ended:
            return
        known = self._known.get(leg.id)
        if leg.port is None or (known is None and len(self._known) >= MAX_PARTICIPANTS):
            if known is None and leg.id not in self._omitted:
                self._omitted.append(leg.id)
            return
        if known is None:
            sink = self._recorder.add_channel()
            known = _Participant(sink, len(self._known), self._recorder.position_ms)
            self._known[leg.id] = known
        known.end_ms = None
        leg.port.add_tap_in(known.sink)

    def left(self, leg: Leg) -> None:
        """Stop listening to a leg; its channel is silent from here on."""
        known = self._known.get(leg.id)
        if known is not None and known.end_ms is None:
            known.end_ms = self._recorder.position_ms
            if leg.port is not None:
                leg.port.remove_tap(known.sink)

    def channels(self, written: int, total_ms: int) -> dict[str, ChannelInfo]:
        """Return where each leg is in the finished file.

        Args:
            written: how many channels the file has.
            total_ms: its length.
        """
        return {
            leg_id: ChannelInfo(
                channel=known.channel,
                start_ms=min(known.start_ms, total_ms),
                end_ms=total_ms if known.end_ms is None else min(known.end_ms, total_ms),
            )
            for leg_id, known in self._known.items()
            if known.channel < written
        }

    def omitted(self, written: int) -> list[str]:
        """Return the legs that have no channel in a file with this many."""
        return [leg_id for leg_id, known in self._known.items() if known.channel >= written] + self._omitted
