"""What can go wrong on the way to a server, as text fit for clients: no query, credentials or address."""


class WebError(Exception):
    """A server did not give an answer that can be used."""


class UrlRefused(WebError):
    """The URL, or the address behind it, is not one the server may connect to."""


class MalformedUrl(UrlRefused):
    """It is no URL."""


class MalformedLocation(WebError):
    """A server redirects to what is no URL; another time it may not."""


class HostUnknown(WebError):
    """The host of a URL has no address, or none was found in time."""


class CannotConnect(WebError):
    """No address of the host takes a connection."""


class TooManyRedirects(WebError):
    """A server sends one from place to place."""


class TooLarge(WebError):
    """An answer is longer than one may be."""


class HandshakeFailed(WebError):
    """A server does not speak WebSocket at this URL.

    Attributes:
        status: of its HTTP answer; None when there was none.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class WebSocketClosed(WebError):
    """A WebSocket is over.

    Attributes:
        code: close code of the peer, 1006 when it gave none because the connection broke.
        reason: what the peer says besides.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"the WebSocket is closed: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason
