from __future__ import annotations

import socket
import uuid
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from vb.config import Config, settings_table
from vb.errors import ConfigError
from vb.listen_address import parse_listen_address


def test_defaults_are_those_that_clients_and_operators_count_on() -> None:
    config = Config.from_env({})
    assert config.http.addr == ":8080"
    assert config.http.vsi_event_buffer_size == 256
    assert config.sip.bind_ip == "127.0.0.1"
    assert config.sip.port == 5060
    assert config.sip.codecs == ("opus", "G722", "PCMU", "PCMA")
    assert (config.rtp.port_min, config.rtp.port_max) == (10000, 20000)
    assert config.rtp.jitter_buffer_ms is None
    assert config.rooms.default_sample_rate == 16000
    assert config.recording.dir == "/tmp/recordings"
    assert config.server.stop_timeout_s == 10.0


def test_an_instance_without_a_name_draws_one() -> None:
    one, other = Config.from_env({}), Config.from_env({"INSTANCE_ID": "  "})
    assert uuid.UUID(one.server.instance_id).version == 4
    assert one.server.instance_id != other.server.instance_id
    assert Config.from_env({"INSTANCE_ID": "edge-1"}).server.instance_id == "edge-1"


@pytest.mark.parametrize("edge", ["[x]:5061", "[]:5061", "[fe80::1%eth0]:5061", "[::1]:0", "h:70000"])
def test_an_edge_that_no_call_could_reach_is_refused(edge: str) -> None:
    with pytest.raises(ConfigError, match=r"^VB_WHATSAPP_EDGE: must be host:port$"):
        Config.from_env({"VB_WHATSAPP_EDGE": edge})


def test_an_edge_may_be_an_ipv6_address() -> None:
    assert Config.from_env({"VB_WHATSAPP_EDGE": "[2001:db8::1]:5061"}).whatsapp.edge == "[2001:db8::1]:5061"


def test_an_empty_value_counts_as_unset() -> None:
    assert Config.from_env({"SIP_PORT": "", "HTTP_ADDR": "   "}).sip.port == 5060


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("500ms", 0.5), ("10s", 10), ("1m30s", 90), ("1.5h", 5400)]
)
def test_durations_have_units(text: str, seconds: float) -> None:
    assert Config.from_env({"VB_STOP_TIMEOUT": text}).server.stop_timeout_s == seconds


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("1", True), ("YES", True), ("off", False), ("0", False)]
)
def test_booleans_have_several_words(text: str, value: bool) -> None:
    assert Config.from_env({"SIP_TCP_ENABLED": text}).sip.tcp_enabled is value


def test_codecs_are_recognised_in_any_case_and_kept_once_in_order() -> None:
    config = Config.from_env({"SIP_CODECS": "pcma, OPUS,PCMA , g722"})
    assert config.sip.codecs == ("PCMA", "opus", "G722")


def test_lists_are_split_at_commas() -> None:
    config = Config.from_env({"VB_FETCH_ALLOW": "10.0.0.0/8, media.internal,,::1"})
    assert config.server.fetch_allow == ("10.0.0.0/8", "media.internal", "::1")


ADDRESSES = {
    ":0": (socket.AF_INET6, "::", 0),
    "127.0.0.1:8080": (socket.AF_INET, "127.0.0.1", 8080),
    "[::]:0": (socket.AF_INET6, "::", 0),
    "[::1]:8080": (socket.AF_INET6, "::1", 8080),
    "localhost:80": (socket.AF_INET, "localhost", 80),
    "::1:8080": (socket.AF_INET6, "::1", 8080),
    ":::8080": (socket.AF_INET6, "::", 8080),
    "fe80::1%lo:8080": (socket.AF_INET6, "fe80::1%lo", 8080),
    "bücher.example:80": (socket.AF_INET, "bücher.example", 80),
    "_voice_1:80": (socket.AF_INET, "_voice_1", 80),
}


@pytest.mark.parametrize("addr", ADDRESSES)
@pytest.mark.parametrize("name", ["HTTP_ADDR", "MOQ_LISTEN_ADDR"])
def test_addresses_have_several_forms(name: str, addr: str) -> None:
    config = Config.from_env({name: addr})
    assert addr == (config.http.addr if name == "HTTP_ADDR" else config.moq.listen_addr)
    found = parse_listen_address(addr)
    family, *where = ADDRESSES[addr]
    assert where in ([found.host, found.port], ["::", found.port])  # `::` is 0.0.0.0 where there is no IPv6
    assert family == found.family or found.dual


def test_a_link_local_address_is_bound_on_its_interface() -> None:
    try:
        table = Path("/proc/net/if_inet6").read_text(encoding="ascii")
    except OSError:
        pytest.skip("this machine has no IPv6")
    rows = [row.split() for row in table.splitlines()]
    found = [(IPv6Address(bytes.fromhex(row[0])), row[5]) for row in rows if row[3] == "20"]
    if not found:
        pytest.skip("this machine has no link-local address")
    address, interface = found[0]
    with socket.socket(socket.AF_INET6) as sock:
        parse_listen_address(f"{address}%{interface}:0").bind(sock)
        assert sock.getsockname()[3] == socket.if_nametoindex(interface)


def test_a_list_may_stand_on_several_lines() -> None:
    config = Config.from_env({"VB_API_TOKENS": "\n\tone,\r\n\ttwo ,\n", "SIP_CODECS": "PCMA,\n G722"})
    assert [token.get_secret_value() for token in config.http.api_tokens] == ["one", "two"]
    assert config.sip.codecs == ("PCMA", "G722")


@pytest.mark.parametrize("name", ["AZURE_SPEECH_REGION", "AWS_REGION"])
def test_a_region_that_nobody_uses_may_be_anything(name: str) -> None:
    Config.from_env({name: "East US"})


def test_a_region_that_is_used_has_to_be_part_of_a_host_name() -> None:
    azure = {"AZURE_SPEECH_KEY": "key", "AZURE_SPEECH_REGION": "East US"}
    with pytest.raises(ConfigError, match=r"^AZURE_SPEECH_REGION: must be part of a host name$"):
        Config.from_env(azure)
    Config.from_env({**azure, "VB_AZURE_BASE_URL": "http://speech.internal"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("HTTP_ADDR", "8080"),
        ("VB_DNS_SERVERS", "ns.example"),
        ("VB_DNS_SERVERS", "127.0.0.1:0"),
        ("VB_DNS_SERVERS", "[::1]x"),
        ("VB_DNS_SERVERS", "127.0.0.1:99999"),
        ("HTTP_ADDR", "127.0.0.1:http"),
        ("HTTP_ADDR", "127.0.0.1:70000"),
        ("HTTP_ADDR", "[::zz]:80"),
        ("HTTP_ADDR", "::1"),
        ("HTTP_ADDR", "2001:db8::8080"),
        ("HTTP_ADDR", ":::80:"),
        ("HTTP_ADDR", "fe80::1"),
        ("HTTP_ADDR", f"{'ü' * 70}.example:80"),
        ("HTTP_ADDR", "local host:80"),
        ("HTTP_ADDR", "[::1:8080"),
        ("HTTP_ADDR", "http://[::1"),
        ("HTTP_ADDR", ":²"),
        ("MOQ_LISTEN_ADDR", "*:8443"),
        ("VB_API_TOKENS", " , "),
        ("VB_DIAL_ALLOW", ","),
        ("ALLOWED_IPS", ","),
        ("ALLOWED_IPS", "10.0.0.\udcff"),
        ("SIP_CODECS", "\udcff"),
        ("S3_BUCKET", "\udcff"),
        ("VB_API_TOKENS", "one\ntwo"),
        ("SIP_BIND_IP", "224.0.0.1"),
        ("SIP_BIND_IP", "255.255.255.255"),
        ("SIP_BIND_IPV6", "ff02::1"),
        ("SIP_EXTERNAL_IP", "0.0.0.0"),
        ("SIP_PORT", "sip"),
        ("SIP_PORT", "-1"),
        ("SIP_PORT", "65536"),
        ("SIP_BIND_IP", "localhost"),
        ("SIP_BIND_IP", "::1"),
        ("SIP_BIND_IPV6", "127.0.0.1"),
        ("SIP_EXTERNAL_IP", "300.1.1.1"),
        ("SIP_TCP_ENABLED", "maybe"),
        ("SIP_CODECS", "PCMU,MP3"),
        ("SIP_CODECS", ","),
        ("SIP_DOMAIN", "a b"),
        ("SIP_HOST", "vb\nX: y"),
        ("LOG_LEVEL", "loud"),
        ("VB_MAX_LEGS", "-1"),
        ("VB_STOP_TIMEOUT", "10"),
        ("VB_STOP_TIMEOUT", "soon"),
        ("VB_FETCH_ALLOW", "10.0.0.0/99"),
        ("WEBHOOK_URL", "ftp://x/"),
        ("WEBHOOK_URL", "http://"),
        ("WEBHOOK_URL", "https://hooks.example:99999/"),
        ("WEBHOOK_URL", "https://hooks.example:0/"),
        ("OPENAI_BASE_URL", "http://models.example:http/v1"),
        ("VSI_EVENT_BUFFER_SIZE", "0"),
        ("SIP_JITTER_BUFFER_MS", "-5"),
        ("SIP_JITTER_BUFFER_MAX_MS", "9999"),
        ("DEFAULT_SAMPLE_RATE", "44100"),
        ("RTP_PORT_MIN", "0"),
        ("RTP_PORT_MIN", "19950"),
    ],
)
def test_an_unusable_value_is_one_line_that_names_its_setting(name: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_env({name: text})
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_value_of_any_length_makes_a_line_of_a_screen() -> None:
    with pytest.raises(ConfigError, match=r"^ALLOWED_IPS: x{100,200}…$"):
        Config.from_env({"ALLOWED_IPS": "x" * 100_000})


def test_any_ports_are_asked_for_with_two_zeros() -> None:
    config = Config.from_env({"RTP_PORT_MIN": "0", "RTP_PORT_MAX": "0"})
    assert (config.rtp.port_min, config.rtp.port_max) == (0, 0)


def test_a_jitter_buffer_of_zero_is_not_the_adaptive_one() -> None:
    assert Config.from_env({"SIP_JITTER_BUFFER_MS": "0"}).rtp.jitter_buffer_ms == 0


@pytest.mark.parametrize(("text", "complexity"), [("", None), ("auto", None), ("0", 0), ("10", 10)])
def test_the_complexity_of_opus_is_a_number_or_left_to_the_load(text: str, complexity: int | None) -> None:
    assert Config.from_env({"VB_OPUS_COMPLEXITY": text}).rooms.opus_complexity == complexity


@pytest.mark.parametrize("text", ["11", "-1", "much"])
def test_another_complexity_of_opus_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match="VB_OPUS_COMPLEXITY"):
        Config.from_env({"VB_OPUS_COMPLEXITY": text})


def test_settings_that_are_refused_are_not_quoted_with_the_secrets_beside_them() -> None:
    wrong: list[dict[str, Any]] = [
        {"rtp": {"port_min": 5, "port_max": 7}, "s3": {"secret_key": "hush"}},
        {"s3": {"secret_key": ["hush"]}},
        {"history": {"database_url": ["postgresql://user:hush@host/calls"]}},
    ]
    for values in wrong:
        with pytest.raises(ValueError) as caught:
            Config(**values)
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize("name", ["ELEVENLABS_API_KEY", "DEEPGRAM_API_KEY", "OPENAI_API_KEY"])
def test_a_key_that_no_header_can_hold_is_refused_in_one_line(name: str) -> None:
    for text in ("ключ", "a b"):
        with pytest.raises(ConfigError, match=f"^{name}: must be printable ASCII without blanks$"):
            Config.from_env({name: text})


def test_secrets_do_not_show() -> None:
    config = Config.from_env({"WEBHOOK_SECRET": "hush"})
    assert config.webhook.secret.get_secret_value() == "hush"
    assert "hush" not in repr(config)
    assert "hush" not in config.model_dump_json()


def test_a_configuration_cannot_be_changed() -> None:
    config = Config()
    with pytest.raises(ValidationError):
        config.sip.port = 1  # type: ignore[misc]  # the assignment is the test


def test_unknown_variables_are_ignored_but_unknown_fields_are_not() -> None:
    Config.from_env({"PATH": "/bin", "UNKNOWN": "1"})
    with pytest.raises(ValidationError):
        Config.model_validate({"sip": {"unknown": 1}})


def test_every_setting_has_one_row_with_a_meaning() -> None:
    rows = settings_table()
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.meaning and row.kind for row in rows)
    shown = {row.name: row.default for row in rows}
    assert shown["SIP_JITTER_BUFFER_MS"] == "adaptive"
    assert shown["INSTANCE_ID"] == "random UUID"
    assert shown["VB_MAX_LEGS"] == "0"
    assert shown["COMFORT_NOISE_ENABLED"] == "true"
    assert shown["WEBHOOK_SECRET"] == ""


def test_rows_tell_what_kind_of_value_is_wanted() -> None:
    kinds = {row.name: row.kind for row in settings_table()}
    assert kinds["SIP_TCP_ENABLED"] == "bool"
    assert kinds["SIP_PORT"] == "int"
    assert kinds["SIP_JITTER_BUFFER_MS"] == "int"
    assert kinds["SIP_CODECS"] == "list"
    assert kinds["VB_API_TOKENS"] == "list"
    assert kinds["VB_STOP_TIMEOUT"] == "duration"
    assert kinds["LOG_LEVEL"] == "debug | info | warn | error"
    assert kinds["HTTP_ADDR"] == "str"
