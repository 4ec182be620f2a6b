"""What can go wrong with a playback or a recording, as text fit for an event."""


class PlaybackError(Exception):
    """A playback cannot start or go on; the text becomes ``playback.error``.

    The text never carries a query string, credentials or a resolved address.
    """


class UnknownTone(PlaybackError):
    """The request names a tone that the table does not have."""


class FetchError(PlaybackError):
    """The audio could not be downloaded."""


class FetchLimit(FetchError):
    """The download went beyond what one may cost; what has arrived of it is not played any further."""


class DecodeError(PlaybackError):
    """The bytes that arrived are not audio this server can play."""


class RecordingError(Exception):
    """A recording could not be started; nothing was left on disk."""
