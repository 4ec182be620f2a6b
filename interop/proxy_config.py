"""Kamailio's configuration: what it does with a call stands in the user part that is dialled.

udp.PORT.NAME        on to 127.0.0.1:PORT over UDP; likewise tcp and tls
par.PORT.PORT.NAME   to both at once
ser.PORT.PORT.NAME   to the first, and after its refusal or silence to the second
mute.PORT.NAME       like udp, and given up after a second without any answer
code.STATUS.NAME     refused by the proxy itself
moved.NAME           redirected
auth.PORT.NAME       like udp, once the caller has proved who it is; so for each request of the call
twice.PORT.NAME      like udp, once the caller has satisfied the proxy (407) and then a server (401)
chain.PORT.NAME      like udp, once the caller has satisfied two proxies of different realms
stale.PORT.NAME      like udp, once the caller has proved who it is; the first nonce is too old by the time
                     that its use is checked, for the worker sleeps, and all its connections wait
never.NAME           every nonce is called stale, whatever the answer
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from interop.proxy_tls import Identities, Identity

REALM = "proxy.example"
INNER_REALM = "inner.example"
PASSWORD = "open sesame"
MARK = "WITNESS"
GIVE_UP_MS = 1000
NONCE_S = 3
IDLE_S = 120
STALE_NONCE = -4  # what Kamailio's check returns; 17 below asks for qop=auth and stale=true


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the proxy listens on loopback.

    Attributes:
        plain: UDP and TCP.
        udp_only: UDP, with nobody on the same port of TCP.
        tls: TLS with an honest certificate.
        named: the same, but the proxy calls itself by a host name there.
        misnamed, forged: TLS with certificates that are not good.
    """

    plain: int
    udp_only: int
    tls: int
    named: int
    misnamed: int
    forged: int


_MODULES = (
    *("tls", "tm", "tmx", "sl", "rr", "pv", "xlog", "corex", "maxfwd", "textops"),
    *("siputils", "auth", "cfgutils"),
)

_ROUTES = """
request_route {
    xlog("L_NOTICE", "@MARK@|request|$rm|$proto|$si:$sp|$conid|$ci|$cs|$ru|$hdr(Route)|$ml\\n");
    if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
    if (has_totag()) { route(WITHIN); exit; }
    if (is_method("OPTIONS")) { sl_send_reply("200", "OK"); exit; }
    if (is_method("CANCEL")) { if (t_check_trans()) { t_relay(); } exit; }
    t_check_trans();
    loose_route();
    if (is_method("INVITE")) { record_route(); }
    if (!(uri == myself)) { route(RELAY); exit; }
    $var(does) = $(rU{s.select,0,.});
    $var(first) = $(rU{s.select,1,.});
    $var(second) = $(rU{s.select,2,.});
    if ($var(does) =~ "^(auth|twice|chain|stale|never)$") { route(PROVE); }
    if ($var(does) == "code") {
        $var(first) = $(var(first){s.int});
        sl_send_reply("$var(first)", "Refused By Proxy"); exit;
    }
    if ($var(does) == "moved") {
        append_to_reply("Contact: <sip:nobody@127.0.0.1:9>\\r\\n");
        sl_send_reply("302", "Moved Temporarily"); exit;
    }
    $var(transport) = "udp";
    if ($var(does) =~ "^(tcp|tls)$") { $var(transport) = $var(does); }
    if ($var(does) == "mute") { t_set_fr(30000, @GIVE_UP@); }
    if ($var(does) == "ser") {
        t_set_fr(0, @GIVE_UP@);
        $avp(next) = "sip:" + $rU + "@127.0.0.1:" + $var(second);
        t_on_failure("NEXT");
    }
    if ($var(does) == "par") { append_branch("sip:$rU@127.0.0.1:$var(second)"); }
    $ru = "sip:" + $rU + "@127.0.0.1:" + $var(first) + ";transport=" + $var(transport);
    route(RELAY);
}

route[WITHIN] {
    if (loose_route()) {
        if (!is_method("ACK|CANCEL") && check_route_param("prove=yes") && is_direction("downstream")) {
            route(PROXY);
        }
        route(RELAY); exit;
    }
    if (is_method("ACK")) { if (t_check_trans()) { t_relay(); } exit; }
    sl_send_reply("404", "Not Here");
}

route[RELAY] { if (!t_relay()) { sl_reply_error(); } }

route[PROVE] {
    if ($var(does) == "auth") { add_rr_param(";prove=yes"); }
    if ($var(does) == "never") { proxy_challenge("@REALM@", "17"); exit; }
    if ($var(does) == "stale" && $cs == 2) { usleep("@WAIT_US@"); }
    route(PROXY);
    if ($var(does) == "twice" && !pv_www_authenticate("@INNER@", "@PASSWORD@", "0")) {
        www_challenge("@INNER@", "1"); exit;
    }
    if ($var(does) == "chain" && !pv_proxy_authenticate("@INNER@", "@PASSWORD@", "0")) {
        proxy_challenge("@INNER@", "1"); exit;
    }
    consume_credentials();
}

route[PROXY] {
    if (!pv_proxy_authenticate("@REALM@", "@PASSWORD@", "0")) {
        if ($rc == @STALE@) { proxy_challenge("@REALM@", "17"); } else { proxy_challenge("@REALM@", "1"); }
        exit;
    }
    if (is_method("BYE|UPDATE|INFO|PRACK|REFER")) { consume_credentials(); }
}

failure_route[NEXT] {
    if (t_is_canceled() || $avp(next) == $null) { exit; }
    $ru = $avp(next);
    $avp(next) = $null;
    t_relay();
}

onreply_route {
    xlog("L_NOTICE", "@MARK@|reply|$rs|$proto|$si:$sp|$conid|$ci|$cs|$rm|$hdr(Via)|$ml\\n");
}
"""


def _tls_section(name: str, identity: Identity, authority: Path, *, verify: bool) -> str:
    lines = [
        f"[{name}]",
        "method = TLSv1.2+",
        f"verify_certificate = {'yes' if verify else 'no'}",
        f"require_certificate = {'yes' if verify else 'no'}",
        f"private_key = {identity.key}",
        f"certificate = {identity.certificate}",
        f"ca_list = {authority}",
    ]
    return "\n".join(lines) + "\n\n"


def _tls_file(ports: Ports, identities: Identities) -> str:
    """The proxy verifies whom it connects to, and shows a certificate of the port's kind."""
    authority = identities.authority
    sections = [
        _tls_section("server:default", identities.honest, authority, verify=False),
        _tls_section("client:default", identities.honest, authority, verify=True),
    ]
    for port, identity in ((ports.misnamed, identities.misnamed), (ports.forged, identities.forged)):
        sections.append(_tls_section(f"server:127.0.0.1:{port}", identity, authority, verify=False))
    return "".join(sections)


def _listens(ports: Ports) -> list[str]:
    """Of several sockets of a transport Kamailio sends from the last."""
    return [
        f"udp:127.0.0.1:{ports.udp_only}",
        f"tls:127.0.0.1:{ports.misnamed}",
        f"tls:127.0.0.1:{ports.forged}",
        f'tls:127.0.0.1:{ports.named} advertise "localhost":{ports.named}',
        f"udp:127.0.0.1:{ports.plain}",
        f"tcp:127.0.0.1:{ports.plain}",
        f"tls:127.0.0.1:{ports.tls}",
    ]


def write_config(folder: Path, ports: Ports, identities: Identities, *, idle_s: int) -> Path:
    """Write Kamailio's files into a folder and return the path of the main one.

    Args:
        idle_s: how long a connection may carry nothing before the proxy closes it.
    """
    tls_file = folder / "tls.cfg"
    tls_file.write_text(_tls_file(ports, identities))
    head = [
        "#!KAMAILIO",
        "debug=1",
        "log_stderror=yes",
        "children=2",
        "tcp_children=3",
        "disable_tcp=no",
        "enable_tls=yes",
        "tcp_accept_no_cl=no",
        f"tcp_connection_lifetime={idle_s}",
        "auto_aliases=no",
        'alias="localhost"',
        "server_signature=no",
        *(f"listen={listen}" for listen in _listens(ports)),
        *(f'loadmodule "{module}.so"' for module in _MODULES),
        f'modparam("tls", "config", "{tls_file}")',
        'modparam("tm", "fr_timer", 3000)',
        'modparam("rr", "enable_full_lr", 1)',
        'modparam("rr", "append_fromtag", 1)',
        f'modparam("auth", "nonce_expire", {NONCE_S})',
        'modparam("auth", "force_stateless_reply", 1)',
    ]
    routes = _ROUTES
    for word, value in {
        "MARK": MARK,
        "GIVE_UP": str(GIVE_UP_MS),
        "WAIT_US": str(NONCE_S * 1_000_000 + 1_500_000),
        "STALE": str(STALE_NONCE),
        "REALM": REALM,
        "INNER": INNER_REALM,
        "PASSWORD": PASSWORD,
    }.items():
        routes = routes.replace(f"@{word}@", value)
    config = folder / "kamailio.cfg"
    config.write_text("\n".join(head) + "\n" + routes)
    return config
