"""Valid SIP messages of every kind, as the seeds of mutation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from fuzz.attack.briefing import Address, Briefing, LiveCall

Header = tuple[str, str]


@dataclass
class Draft:
    """A message before it is written: mutations work on its parts.

    Attributes:
        body_only: it names a live dialog in full, so that an injury to its head could make it a valid order.
    """

    start: str
    headers: list[Header]
    body: bytes = b""
    content_length: str | None = None
    body_only: bool = False

    def to_bytes(self) -> bytes:
        """The message for the wire; Content-Length is the true one unless another was set."""
        length = str(len(self.body)) if self.content_length is None else self.content_length
        lines = [self.start, *(f"{name}: {value}" for name, value in self.headers)]
        if length:
            lines.append(f"Content-Length: {length}")
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogatepass") + self.body

    def set(self, name: str, value: str) -> None:
        """Replaces the first header of a name, or adds it."""
        for index, (key, _) in enumerate(self.headers):
            if key == name:
                self.headers[index] = (name, value)
                return
        self.headers.append((name, value))


def sdp_offer(port: int, *, codecs: str = "0 8 101", extra: str = "") -> bytes:
    """An ordinary offer of one audio stream."""
    return (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP {codecs}\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
        f"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n{extra}"
    ).encode()


class Corpus:
    """Draws valid messages; every one has a Call-ID and branch of its own.

    Args:
        random: where all choice comes from.
        briefing: names the server and the live calls.
    """

    def __init__(self, random: Random, briefing: Briefing) -> None:
        self.random = random
        self.server = briefing.sip
        self.live = briefing.live
        self._kinds: list[Callable[[Address], Draft]] = [
            self.invite,
            self.invite,
            self.invite_without_offer,
            self.plain("OPTIONS"),
            self.plain("REGISTER"),
            self.plain("BYE"),
            self.plain("CANCEL"),
            self.plain("ACK"),
            self.plain("NOTIFY", [("Event", "refer"), ("Subscription-State", "active")]),
            self.plain(
                "REFER", [("Refer-To", "<sip:900@127.0.0.1:9>"), ("Referred-By", "<sip:x@127.0.0.1>")]
            ),
            self.plain("UPDATE"),
            self.plain("INFO", [("Content-Type", "application/dtmf-relay")]),
            self.plain("SUBSCRIBE", [("Event", "presence"), ("Expires", "60")]),
            self.plain("PRACK", [("RAck", "1 1 INVITE")]),
            self.plain("MESSAGE", [("Content-Type", "text/plain")]),
            self.response,
            self.response,
        ]

    def token(self) -> str:
        """A short random word."""
        return f"{self.random.getrandbits(48):012x}"

    def draw(self, local: Address) -> Draft:
        """One message, as sent from a local address."""
        if self.live and self.random.random() < 0.25:
            return self.in_live_call(local)
        return self.random.choice(self._kinds)(local)

    def request(self, method: str, local: Address, headers: list[Header] | None = None) -> Draft:
        """A request outside any dialog."""
        host = f"{local[0]}:{local[1]}"
        server = f"{self.server[0]}:{self.server[1]}"
        return Draft(
            f"{method} sip:fuzz@{server} SIP/2.0",
            [
                ("Via", f"SIP/2.0/UDP {host};branch=z9hG4bK{self.token()};rport"),
                ("Max-Forwards", "70"),
                ("From", f'"Fuzz" <sip:fuzz@{host}>;tag={self.token()}'),
                ("To", f"<sip:fuzz@{server}>"),
                ("Call-ID", f"{self.token()}@{local[0]}"),
                ("CSeq", f"{self.random.randint(1, 9999)} {method}"),
                ("Contact", f"<sip:fuzz@{host}>"),
                ("User-Agent", "fuzz"),
                *(headers or []),
            ],
        )

    def plain(self, method: str, headers: list[Header] | None = None) -> Callable[[Address], Draft]:
        """A maker of requests of one method."""
        return lambda local: self.request(method, local, list(headers or []))

    def invite(self, local: Address) -> Draft:
        """An INVITE with an offer."""
        draft = self.request("INVITE", local, [("Allow", "INVITE, ACK, BYE"), ("Supported", "timer, 100rel")])
        draft.headers.append(("Content-Type", "application/sdp"))
        draft.body = sdp_offer(2 * self.random.randint(10000, 30000))
        return draft

    def invite_without_offer(self, local: Address) -> Draft:
        """An INVITE that asks for an offer."""
        return self.request("INVITE", local, [("X-App-ID", "fuzz")])

    def response(self, local: Address) -> Draft:
        """A response that nobody waits for."""
        method = self.random.choice(["INVITE", "OPTIONS", "BYE", "CANCEL"])
        status = self.random.choice([100, 180, 183, 200, 302, 401, 407, 408, 481, 487, 503, 600])
        draft = self.request(method, local)
        server = f"{self.server[0]}:{self.server[1]}"
        draft.start = f"SIP/2.0 {status} Whatever"
        draft.set("Via", f"SIP/2.0/UDP {server};branch=z9hG4bK{self.token()};rport")
        draft.set("To", f"<sip:fuzz@{server}>;tag={self.token()}")
        return draft

    def in_live_call(self, local: Address) -> Draft:
        """A request with the Call-ID of a live call: one tag is wrong, or the sequence number is old."""
        call = self.random.choice(self.live)
        method = self.random.choice(
            ["BYE", "INVITE", "UPDATE", "ACK", "CANCEL", "OPTIONS", "NOTIFY", "REFER", "INFO"]
        )
        draft = self.request(method, local)
        if method in ("INVITE", "UPDATE"):
            draft.headers.append(("Content-Type", "application/sdp"))
            draft.body = sdp_offer(9)
        draft.set("Call-ID", call.call_id)
        stale = self.random.random() < 0.4 and method not in ("ACK", "CANCEL")
        self._tags(draft, call, stale)
        draft.body_only = stale
        number = self.random.randint(0, call.cseq - 1) if stale else self.random.randint(0, 2**31)
        draft.set("CSeq", f"{number} {method}")
        return draft

    def _tags(self, draft: Draft, call: LiveCall, stale: bool) -> None:
        wrong = self.random.choice(["from", "to", "both", "swapped", "none"])
        ours, theirs = call.caller_tag, call.server_tag
        if not stale and wrong in ("from", "both"):
            ours = self.token()
        if not stale and wrong in ("to", "both"):
            theirs = self.token()
        if not stale and wrong == "swapped":
            ours, theirs = theirs, ours
        draft.set("From", f"<{call.caller_uri}>;tag={ours}")
        bare = not stale and wrong == "none"
        draft.set("To", f"<{call.server_uri}>" + ("" if bare else f";tag={theirs}"))
