from tests.support.ids import SequentialIds
from tests.support.sip_pair import RawPeer, statuses
from vb.sip.admission import Refusal
from vb.sip.agent import UserAgent
from vb.sip.call import Call
from vb.sip.message import Response
from vb.sip.outside_dialog import OutsideRequest, method_table
from vb.sip.settings import AgentSettings


def unused(outside: OutsideRequest, now: float) -> Refusal | None:
    raise AssertionError(outside)


class Texts:
    """Takes MESSAGE requests."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def __call__(self, outside: OutsideRequest, now: float) -> Refusal | None:
        self.bodies.append(outside.request.body)
        return Refusal(202)


def peer_with(texts: Texts) -> RawPeer:
    peer = RawPeer()
    settings = AgentSettings(port=5062)
    peer.agent = peer.side.agent = UserAgent(settings, SequentialIds(1), {"MESSAGE": texts})
    return peer


def test_every_method_inside_a_dialog_is_one_that_we_say_we_take() -> None:
    table = method_table(unused, unused, info=True)
    assert table.allow == "INVITE, ACK, CANCEL, BYE, UPDATE, PRACK, REFER, NOTIFY, OPTIONS, INFO"
    assert sorted(Call._IN_DIALOG) == sorted(set(table.allow.split(", ")) - {"ACK", "CANCEL"})


def test_info_is_no_method_of_ours_unless_it_is_switched_on() -> None:
    table = method_table(unused, unused)
    assert "INFO" not in table
    assert table.allow.endswith("OPTIONS")


def test_a_further_method_is_one_entry_and_allow_follows() -> None:
    texts = Texts()
    peer = peer_with(texts)
    assert statuses(peer.send(peer.request("MESSAGE", body=b"hello"))) == [202]
    assert texts.bodies == [b"hello"]
    (answer,) = peer.send(peer.request("PUBLISH"))
    assert isinstance(answer, Response)
    assert answer.status == 405
    assert (answer.headers.get("Allow") or "").endswith("OPTIONS, MESSAGE")


def test_a_method_taken_outside_dialogs_only_gets_405_inside_one() -> None:
    texts = Texts()
    peer = peer_with(texts)
    call = peer.connected()
    assert statuses(peer.send(peer.request("MESSAGE", to_tag=call.local_tag, cseq=2))) == [405]
    assert texts.bodies == []
