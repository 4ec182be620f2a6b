"""Calls over TCP and TLS in both directions, and certificates that either side must refuse."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
import trustme

from interop.phone_calls import Bench, Line, running_bench
from interop.phone_client import Phone, PhoneOptions, running_phones
from interop.phones_hold import directions
from interop.report import Report

HOST = "127.0.0.1"
TONES_HZ = (700, 1100)
REFUSED_S = 10.0


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: two authorities, one of which nobody trusts, and what they have issued."""

    ca: str
    strange_ca: str
    good: str
    strange: str
    misnamed: str
    server_port: int


def make_certificates(folder: Path) -> Certificates:
    """Issue certificates for this run; each file has the key as well."""
    ours, strange = trustme.CA(), trustme.CA()
    issued = {
        "good": ours.issue_cert(HOST),
        "strange": strange.issue_cert(HOST),
        "misnamed": ours.issue_cert("elsewhere.example"),
    }
    for name, certificate in issued.items():
        certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}.pem"))
    for name, ca in (("ca", ours), ("strange_ca", strange)):
        ca.cert_pem.write_to_path(str(folder / f"{name}.pem"))
    files = {name: str(folder / f"{name}.pem") for name in (*issued, "ca", "strange_ca")}
    return Certificates(**files, server_port=_free_tcp_port())


def _free_tcp_port() -> int:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


def options(certificates: Certificates, user: str, transport: str, tone_hz: int = 0) -> PhoneOptions:
    """A phone that trusts our authority and shows a good certificate."""
    return PhoneOptions(user, tone_hz, transport=transport, ca=certificates.ca, certificate=certificates.good)


def _address(phone: Phone, transport: str) -> str:
    """Where a phone is called; its port for TLS is the next one."""
    port = phone.port + (1 if transport == "tls" else 0)
    return f"sip:{phone.options.user}@{HOST}:{port};transport={transport}"


def check_transport(bench: Bench, phone: Phone, transport: str, what: str) -> None:
    """Check that every message went over the transport, and that both sides' headers say so."""
    name = transport.upper()
    bench.report.equal({message.transport for message in phone.messages}, {name}, f"{what}: every message by")
    vias = {message.header("Via").split(" ")[0] for message in phone.messages}
    bench.report.equal(vias, {f"SIP/2.0/{name}"}, f"{what}: Via")
    contacts = [message.header("Contact") for message in phone.messages if not message.sent]
    named = [contact for contact in contacts if contact]
    right = all(f";transport={transport}" in contact for contact in named)
    bench.report.check(bool(named) and right, f"{what}: the server's Contact names the transport", named)


async def check_calls(bench: Bench, certificates: Certificates, transport: str) -> None:
    """A phone that calls and one that is called hear each other; requests inside the calls go both ways."""
    kinds = [options(certificates, f"{transport}-{side}", transport, hz) for side, hz in _sides()]
    port = certificates.server_port if transport == "tls" else bench.server.sip_port
    room = f"over-{transport}"
    async with running_phones(*kinds) as (caller, callee):
        user = f"{transport}-in"
        uri = f"sip:{user}@{HOST}:{port};transport={transport}"
        one = await bench.call_in(caller, user, room=room, uri=uri)
        other = await bench.call_out(callee, f"{transport}-out", room=room, uri=_address(callee, transport))
        await bench.each_hears(f"calls over {transport.upper()}", one, other)
        await _hold_both_ways(bench, one, other, f"over {transport.upper()}")
        await bench.each_hears(f"resumed over {transport.upper()}", one, other)
        await bench.app.command("delete_leg", id=one.leg_id)
        await caller.event("call_closed", one.call)
        await other.do("hangup")
        await bench.ends(one.leg_id, "api_hangup", f"call in over {transport.upper()}")
        await bench.ends(other.leg_id, "remote_bye", f"call out over {transport.upper()}")
        for line in (one, other):
            check_transport(bench, line.phone, transport, line.phone.options.user)


def _sides() -> tuple[tuple[str, int], tuple[str, int]]:
    return ("in", TONES_HZ[0]), ("out", TONES_HZ[1])


async def _hold_both_ways(bench: Bench, one: Line, other: Line, what: str) -> None:
    """The server holds and resumes the call that came in, and the called phone its own."""
    since = len(one.phone.messages)
    await bench.app.command("hold_leg", id=one.leg_id)
    found = await directions(one.phone, since, sent=False)
    bench.report.equal(found, ("sendonly", "recvonly"), f"the server holds {what}: offer and answer")
    await bench.count(one.leg_id, "leg.hold", 1, f"the server holds {what}")
    await bench.app.command("unhold_leg", id=one.leg_id)
    await bench.count(one.leg_id, "leg.unhold", 1, f"the server resumes {what}")
    await other.do("hold")
    await bench.count(other.leg_id, "leg.hold", 1, f"the phone holds {what}")
    await other.do("resume")
    await bench.count(other.leg_id, "leg.unhold", 1, f"the phone resumes {what}")


async def check_sips(bench: Bench, certificates: Certificates) -> None:
    """A call to a sips URI; the server hangs up, as the stack below baresip sends no request to one."""
    async with running_phones(options(certificates, "secure", "tls")) as (phone,):
        uri = f"sips:secure@{HOST}:{phone.port + 1}"
        line = await bench.call_out(phone, "secure", uri=uri)
        invite = await phone.message(lambda message: message.start.startswith("INVITE "))
        bench.report.equal(invite.start, f"INVITE {uri} SIP/2.0", "call to a sips URI")
        contact = invite.header("Contact")
        bench.report.check(contact.startswith("<sips:"), "call to a sips URI: Contact is one too", contact)
        await bench.app.command("delete_leg", id=line.leg_id)
        await phone.event("call_closed", line.call)
        await bench.ends(line.leg_id, "api_hangup", "call to a sips URI")


async def check_phone_refuses(bench: Bench, certificates: Certificates) -> None:
    """A phone that does not trust the server's authority says nothing to it."""
    what = "a phone that trusts another authority"
    kind = PhoneOptions(
        "distrusts", transport="tls", ca=certificates.strange_ca, certificate=certificates.good
    )
    async with running_phones(kind) as (phone,):
        uri = f"sip:distrusts@{HOST}:{certificates.server_port};transport=tls"
        dialled = await phone.do("dial", to=uri)
        closed = await phone.event("call_closed", int(str(dialled["call"])), within_s=REFUSED_S)
        answers = [message.start for message in phone.messages if not message.sent]
        bench.report.equal(answers, [], f"{what} gets ({closed.get('text')})")
        bench.report.equal(bench.app.of("distrusts"), [], f"{what}: events")


async def check_server_refuses(bench: Bench, certificates: Certificates, shown: str) -> None:
    """The server does not call a phone whose certificate is by a strange authority or for another name."""
    what = f"a phone with a {shown} certificate"
    kind = PhoneOptions(shown, transport="tls", ca=certificates.ca, certificate=getattr(certificates, shown))
    async with running_phones(kind) as (phone,):
        await bench.ends(await bench.app.dial(_address(phone, "tls")), "invite_failed", what)
        bench.report.equal([message.start for message in phone.messages], [], f"{what} gets")


async def run(report: Report) -> None:
    """Run the calls, then the refusals."""
    with TemporaryDirectory(prefix="interop-tls-") as folder:
        certificates = make_certificates(Path(folder))
        settings = {
            "SIP_TCP_ENABLED": "true",
            "SIP_TLS_PORT": str(certificates.server_port),
            "SIP_TLS_CERT": certificates.good,
            "SIP_TLS_KEY": certificates.good,
            "SIP_TLS_CA_FILE": certificates.ca,
        }
        async with running_bench(report, ("over-tcp", "over-tls"), **settings) as bench:
            checks = {
                "TCP": partial(check_calls, bench, certificates, "tcp"),
                "TLS": partial(check_calls, bench, certificates, "tls"),
                "sips": partial(check_sips, bench, certificates),
                "phone that refuses": partial(check_phone_refuses, bench, certificates),
                "strange authority": partial(check_server_refuses, bench, certificates, "strange"),
                "another name": partial(check_server_refuses, bench, certificates, "misnamed"),
            }
            async with trio.open_nursery() as nursery:
                for name, check in checks.items():
                    nursery.start_soon(bench.scenario, f"{name}: every step works", check)
