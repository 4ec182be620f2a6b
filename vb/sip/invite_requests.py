"""The requests that follow an INVITE of ours: the ACK of its 2xx, and its CANCEL."""

from __future__ import annotations

from vb.sip.call_host import CallHost
from vb.sip.client_transaction import ClientTransaction
from vb.sip.dialog import Dialog
from vb.sip.hop import Hop
from vb.sip.message import Headers, Request, Response
from vb.sip.transaction import FailureKind


def build_ack_in(dialog: Dialog, host: CallHost, invite: Request) -> tuple[bytes, Hop]:
    """Build the ACK of a 2xx to an INVITE of ours in its dialog, and say where it goes.

    Credentials of the INVITE are repeated (RFC 3261 §22.1).

    Spec: RFC 3261 §13.2.2.4.
    """
    hop = dialog.next_hop(to_source=host.settings.use_source_socket)
    uri, routes = dialog.request_target()
    headers = dialog.headers(host.local_via(hop), invite.cseq.number, "ACK", routes)
    headers.add("Contact", host.local_contact(hop, secure=dialog.is_secure))
    for name in ("Authorization", "Proxy-Authorization"):
        for value in invite.headers.get_all(name):
            headers.add(name, value)
    return Request("ACK", uri, headers).to_bytes(), hop


def send_cancel(host: CallHost, transaction: ClientTransaction, now: float) -> None:
    """Send CANCEL for an INVITE of ours that has had a provisional response.

    The INVITE's own final response, or its absence, tells what comes of it.

    Spec: RFC 3261 §9.1.
    """
    invite = transaction.request
    headers = Headers([("Via", str(invite.via)), ("Max-Forwards", "70")])
    for route in invite.headers.get_all("Route"):
        headers.add("Route", route)
    for name in ("From", "To", "Call-ID"):
        headers.add(name, invite.required(name))
    headers.add("CSeq", f"{invite.cseq.number} CANCEL")
    cancel = Request("CANCEL", invite.uri, headers)
    host.start_client(cancel, transaction.hop, ignore_outcome, ignore_outcome, now)


def ignore_outcome(transaction: ClientTransaction, outcome: Response | FailureKind, now: float) -> None:
    """Take note of nothing: for requests whose outcome makes no difference."""
