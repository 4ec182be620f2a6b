"""What can go wrong with a session description; every entry point of this package raises only these."""


class SdpError(Exception):
    """Base of the errors of session descriptions."""


class SdpParseError(SdpError):
    """The bytes are not a session description that can be used."""


class OfferRejected(SdpError):
    """A readable offer that cannot be accepted; the session stays as it was.

    Attributes:
        status: status code of the SIP response that refuses the offer.
        reason: reason phrase of that response.
        warning: value of its Warning header, or None.
    """

    def __init__(self, status: int, reason: str, warning: str | None = None) -> None:
        super().__init__(f"{status} {reason}" if warning is None else f"{status} {reason}: {warning}")
        self.status = status
        self.reason = reason
        self.warning = warning


class AnswerRejected(SdpError):
    """An answer that does not fit our offer; the session stays as it was."""


class CodecNotOffered(SdpError):
    """The codec asked for by name cannot be answered with: it is not in the offer or not enabled here.

    Attributes:
        codec: the name as asked for.
    """

    def __init__(self, codec: str, problem: str) -> None:
        super().__init__(f"codec {codec} is {problem}")
        self.codec = codec
