"""One call of a scripted SIP peer, as caller or as callee."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from conformance.expect import Difference
from conformance.peers.mailbox import Mailbox
from conformance.peers.sdp_text import Sdp, read_sdp
from conformance.peers.sip_message import SipMessage, uri_of, write_message

if TYPE_CHECKING:
    from conformance.peers.sip_ua import SipUa

Headers = Sequence[tuple[str, str]]

REASONS = {
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    302: "Moved Temporarily",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    422: "Session Interval Too Small",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    484: "Address Incomplete",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Server Internal Error",
    503: "Service Unavailable",
    600: "Busy Everywhere",
    603: "Decline",
}


class Call:
    """The peer's half of a dialog: what it sent, what it got, and its sequence numbers."""

    def __init__(
        self, ua: SipUa, *, call_id: str, name: str, local_uri: str, remote_uri: str, request_uri: str
    ) -> None:
        self.ua = ua
        self.call_id = call_id
        self.name = name
        self.local_uri = local_uri
        self.remote_uri = remote_uri
        self.request_uri = request_uri
        self.remote_target = request_uri
        self.local_tag = secrets.token_hex(4)
        self.remote_tag = ""
        self.cseq = 0
        self.contact_params = ""
        self.inbox: Mailbox[SipMessage] = Mailbox()
        self.copies: Counter[bytes] = Counter()
        self.invite: SipMessage | None = None
        self.answers_repeats = True
        self._heard = trio.Event()
        self._replies: dict[bytes, bytes] = {}
        self._sent: dict[str, tuple[bytes, str]] = {}

    @classmethod
    def from_invite(cls, ua: SipUa, invite: SipMessage) -> Call:
        """The callee's half of a call that the server places."""
        call = cls(
            ua,
            call_id=invite.call_id,
            name="bob",
            local_uri=invite.must("To"),
            remote_uri=invite.must("From").split(";tag=")[0],
            request_uri=invite.request_uri,
        )
        call.remote_tag = invite.from_tag
        call.remote_target = uri_of(invite.must("Contact"))
        return call

    def first_invite(self, invite: SipMessage) -> None:
        """Keeps the INVITE that made this call."""
        self.invite = invite
        self.copies[invite.raw] += 1
        self.inbox.log.append((trio.current_time(), invite))

    @property
    def contact(self) -> str:
        suffix = "" if self.ua.transport == "UDP" else f";transport={self.ua.transport.lower()}"
        return f"<sip:{self.name}@{self.ua.host_port}{suffix}{self.contact_params}>"

    # -- what arrives ---------------------------------------------------------------------------------

    async def on_message(self, message: SipMessage) -> None:
        """Files a message; an exact repetition is counted and gets the same reply again."""
        self.copies[message.raw] += 1
        self._heard.set()
        self._heard = trio.Event()
        if self.copies[message.raw] > 1:
            reply = self._replies.get(message.raw)
            if reply is not None and self.answers_repeats:
                await self.ua.send(reply, message.source)
            return
        if message.is_request and message.method == "INVITE":
            self.invite = message
        if not message.is_request and message.to_tag and message.method == "INVITE":
            self._learn(message)
        self.inbox.put(message)

    def _learn(self, response: SipMessage) -> None:
        if response.status >= 300 and self.remote_tag:
            return
        self.remote_tag = response.to_tag
        contact = response.header("Contact")
        if contact and response.status != 100:
            self.remote_target = uri_of(contact)

    async def response(self, status: int, method: str = "INVITE", within_s: float = 2.0) -> SipMessage:
        """The next response to a request of ``method``; a 100 is passed over unless it is asked for.

        Raises:
            Difference: when another status comes, or none in time.
        """
        message = await self.inbox.take(
            lambda m: not m.is_request and m.method == method and (m.status != 100 or status == 100), within_s
        )
        where = f"sip {self.name}: response to {method}"
        if message is None:
            raise Difference(where, status, f"none within {within_s} s")
        if message.status != status:
            raise Difference(where, status, message.start_line)
        return message

    async def any_response(self, method: str, within_s: float = 2.0) -> SipMessage:
        """The next final response to a request of ``method``, whatever its status.

        Raises:
            Difference: when none comes in time.
        """
        message = await self.inbox.take(
            lambda m: not m.is_request and m.method == method and m.status >= 200, within_s
        )
        if message is None:
            raise Difference(
                f"sip {self.name}: final response to {method}", "one", f"none within {within_s} s"
            )
        return message

    async def request(self, method: str, within_s: float = 2.0) -> SipMessage:
        """The next request of ``method`` from the server.

        Raises:
            Difference: when none comes in time.
        """
        message = await self.inbox.take(lambda m: m.is_request and m.method == method, within_s)
        if message is None:
            seen = [m.start_line for m in self.inbox.unread()]
            raise Difference(f"sip {self.name}", f"a {method}", f"none within {within_s} s, unread {seen}")
        return message

    async def silence(self, for_s: float, *, ignoring: Sequence[str] = ()) -> None:
        """Checks that nothing new arrives for a while; methods in ``ignoring`` do not count.

        Raises:
            Difference: when something does.
        """
        message = await self.inbox.take(lambda m: m.method not in ignoring, for_s)
        if message is not None:
            raise Difference(f"sip {self.name}", f"silence for {for_s} s", message.start_line)

    def copies_of(self, message: SipMessage) -> int:
        """How often exactly these bytes arrived."""
        return self.copies[message.raw]

    async def wait_for_copies(self, message: SipMessage, count: int, within_s: float = 2.0) -> None:
        """Waits until a message has been repeated.

        Raises:
            Difference: when it was not in time.
        """
        with trio.move_on_after(within_s):
            while self.copies_of(message) < count:
                await self._heard.wait()
        if self.copies_of(message) < count:
            where = f"sip {self.name}: copies of {message.start_line}"
            raise Difference(where, count, self.copies_of(message))

    # -- what is sent ---------------------------------------------------------------------------------

    async def send_request(
        self,
        method: str,
        *,
        headers: Headers = (),
        body: bytes = b"",
        request_uri: str | None = None,
        to_tag: str | None = None,
        cseq: int | None = None,
        branch: str | None = None,
    ) -> bytes:
        """Sends a request and returns its bytes; the sequence number grows unless it is given."""
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        tag = self.remote_tag if to_tag is None else to_tag
        branch = branch or "z9hG4bK" + secrets.token_hex(8)
        uri = request_uri or self.remote_target
        lines = [
            ("Via", self.ua.via(branch)),
            ("Max-Forwards", "70"),
            ("From", f"{self.local_uri};tag={self.local_tag}"),
            ("To", self.remote_uri + (f";tag={tag}" if tag else "")),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq} {method}"),
            ("Contact", self.contact),
            *headers,
        ]
        data = write_message(f"{method} {uri} SIP/2.0", lines, body)
        if method != "ACK":
            self._sent[method] = (data, branch)
        await self.ua.send(data)
        return data

    async def send_invite(
        self,
        sdp: bytes | None,
        *,
        headers: Headers = (),
        content_type: str = "application/sdp",
        within_dialog: bool = False,
    ) -> bytes:
        """Sends an INVITE or, within the dialog, a re-INVITE."""
        typed = [*headers, ("Content-Type", content_type)] if sdp is not None else list(headers)
        return await self.send_request(
            "INVITE",
            headers=typed,
            body=sdp or b"",
            request_uri=None if within_dialog else self.request_uri,
            to_tag=None if within_dialog else "",
        )

    def last_sent(self, method: str) -> bytes:
        """The bytes of the last request of ``method``."""
        return self._sent[method][0]

    async def resend(self, method: str) -> None:
        """Sends the last request of ``method`` once more, byte for byte."""
        await self.ua.send(self.last_sent(method))

    async def ack(self, response: SipMessage, sdp: bytes | None = None) -> None:
        """Acknowledges a final response to our INVITE (RFC 3261 §13.2.2.4 and §17.1.1.3)."""
        _, branch = self._sent["INVITE"]
        number = response.cseq[0]
        success = response.status < 300
        headers = [("Content-Type", "application/sdp")] if sdp is not None else []
        data = await self.send_request(
            "ACK",
            headers=headers,
            body=sdp or b"",
            cseq=number,
            branch=None if success else branch,
            request_uri=self.remote_target if success else self.request_uri,
            to_tag=response.to_tag,
        )
        self._replies[response.raw] = data

    async def cancel(self) -> None:
        """Cancels our pending INVITE (RFC 3261 §9.1)."""
        _, branch = self._sent["INVITE"]
        await self.send_request(
            "CANCEL", cseq=self.cseq, branch=branch, request_uri=self.request_uri, to_tag=""
        )

    async def prack(self, response: SipMessage, *, rack: str | None = None) -> None:
        """Acknowledges a reliable provisional response (RFC 3262 §4)."""
        rack = rack or f"{response.must('RSeq')} {response.must('CSeq')}"
        await self.send_request("PRACK", headers=[("RAck", rack)])

    async def refer(self, refer_to: str | None, headers: Headers = ()) -> None:
        """Asks the server to call somebody (RFC 3515); without a target the header is left out."""
        named = [("Refer-To", refer_to)] if refer_to is not None else []
        await self.send_request("REFER", headers=[*named, *headers])

    async def notify(self, fragment: str, *, state: str = "active;expires=60", event: str = "refer") -> None:
        """Tells how a transfer that the server asked for goes: a status line such as ``180 Ringing``."""
        headers = [
            ("Event", event),
            ("Subscription-State", state),
            ("Content-Type", "message/sipfrag;version=2.0"),
        ]
        await self.send_request("NOTIFY", headers=headers, body=f"SIP/2.0 {fragment}\r\n".encode())

    async def bye(self, within_s: float = 2.0) -> SipMessage:
        """Hangs up and returns the 200.

        Raises:
            Difference: when the BYE is not answered with 200.
        """
        await self.send_request("BYE")
        return await self.response(200, "BYE", within_s)

    async def reply(
        self,
        request: SipMessage,
        status: int,
        *,
        reason: str | None = None,
        sdp: bytes | None = None,
        headers: Headers = (),
        body: bytes = b"",
        to_tag: str | None = None,
    ) -> None:
        """Answers a request of the server; all but a 100 carry our tag."""
        to = request.must("To")
        if not request.to_tag and status != 100:
            to += f";tag={to_tag or self.local_tag}"
        lines = [
            *(("Via", value) for value in request.all("Via")),
            *(("Record-Route", value) for value in request.all("Record-Route")),
            ("From", request.must("From")),
            ("To", to),
            ("Call-ID", self.call_id),
            ("CSeq", request.must("CSeq")),
            ("Contact", self.contact),
            *headers,
        ]
        if sdp is not None:
            lines.append(("Content-Type", "application/sdp"))
        start = f"SIP/2.0 {status} {reason or REASONS.get(status, 'Answer')}"
        data = write_message(start, lines, sdp if sdp is not None else body)
        if status >= 200:
            self._replies[request.raw] = data
        await self.ua.send(data, request.source)


def sdp_of(message: SipMessage) -> Sdp:
    """The SDP that a message carries.

    Raises:
        Difference: when it carries none, or one that is not well formed.
    """
    where = f"SDP of {message.start_line}"
    if (message.header("Content-Type") or "").split(";")[0].strip().lower() != "application/sdp":
        raise Difference(where, "application/sdp", message.header("Content-Type"))
    try:
        return read_sdp(message.body)
    except (ValueError, IndexError) as problem:
        raise Difference(where, "well-formed SDP", f"{problem}: {message.body!r}") from problem
