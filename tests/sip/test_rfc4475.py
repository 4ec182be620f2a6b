"""The torture test messages of RFC 4475, and what an agent does with each.

Every message goes through a whole agent. The vectors stand in `rfc4475_*.py` beside this file.
"""

from __future__ import annotations

import pytest

from tests.sip.rfc4475_invalid import INVALID
from tests.sip.rfc4475_semantics import SEMANTICS
from tests.sip.rfc4475_valid import VALID
from tests.support.sip_pair import RawPeer, statuses
from vb.sip.message import Request, Response
from vb.sip.parser import parse_message
from vb.sip.uri import parse_uri


def wire(text: str) -> bytes:
    """Return a message as it stands on the wire, with a Content-Length of 150 made to fit."""
    head, _, body = text.replace("\n", "\r\n").partition("\r\n\r\n")
    for name in ("Content-Length   : 150", "Content-Length: 150", "l: 150"):
        head = head.replace(name, name.replace("150", str(len(body.encode()))))
    return f"{head}\r\n\r\n{body}".encode()


CASES = [(name, *case) for group in (VALID, INVALID, SEMANTICS) for name, case in group.items()]


@pytest.mark.parametrize(("name", "status", "text"), CASES, ids=[case[0] for case in CASES])
def test_torture_message(name: str, status: int | None, text: str) -> None:
    # A To tag belongs to a dialog that nobody knows here: such an INVITE is a re-INVITE.
    expected = 481 if name == "wsinv" else status
    peer = RawPeer()
    answers = statuses(peer.send(wire(text)))
    assert answers == ([] if expected is None else [expected])
    assert statuses(peer.send(peer.request("OPTIONS"))) == [200]


@pytest.mark.parametrize("name", list(VALID))
def test_valid_messages_are_read(name: str) -> None:
    message = parse_message(wire(VALID[name][1]))
    again = parse_message(message.to_bytes())
    assert list(again.headers.keys()) == [
        *(key for key in message.headers.keys() if key != "content-length"),  # noqa: SIM118  # our own keys()
        "content-length",
    ]


def test_the_short_tortuous_invite_is_read_to_the_last_field() -> None:
    message = parse_message(wire(VALID["wsinv"][1]))
    assert isinstance(message, Request)
    assert (message.to.uri, message.to.tag) == ("sip:vivekg@chair-dnrc.example.com", "1918181833n")
    assert (message.from_.display, message.from_.tag) == ('J Rosenberg \\"', "98asjd8")
    assert (message.cseq.number, message.headers.get("Max-Forwards")) == (9, "0068")
    assert (message.via.host, message.via.branch) == ("192.0.2.2", "390skdjuw")
    assert len(message.headers.get_list("Via")) == 3
    contact = message.contact
    assert contact is not None
    assert (contact.display, contact.params) == (
        'Quoted string ""',
        {"newparam": "newvalue", "secondparam": None, "q": "0.33"},
    )


def test_unusual_characters_are_kept() -> None:
    message = parse_message(wire(VALID["intmeth"][1]))
    assert isinstance(message, Request)
    assert message.to.display == "BEL:\x07 NUL:\x00 DEL:\x7f"
    uri = parse_uri(message.uri)
    assert uri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
    assert uri.password == "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"
    assert message.from_.tag == "_token~1'+`*%!-."


def test_a_response_may_have_any_reason_or_none() -> None:
    unreason, noreason = (parse_message(wire(VALID[name][1])) for name in ("unreason", "noreason"))
    assert isinstance(unreason, Response)
    assert isinstance(noreason, Response)
    assert unreason.reason.startswith("= 2**3 * 5**2 но сто")
    assert (noreason.status, noreason.reason) == (100, "")
