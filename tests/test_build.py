"""Settings that only show their faults when the server is put together."""

from __future__ import annotations

from pathlib import Path

import pytest

from vb.config import Config
from vb.errors import ConfigError
from vb.sipleg.kind import sip_settings


def settings(**environ: str) -> Config:
    return Config.from_env(environ)


def test_sip_settings_are_handed_on() -> None:
    config = settings(
        SIP_OUTBOUND_PROXY="sip:proxy.example", VB_SIP_SESSION_EXPIRES="600", SIP_TCP_ENABLED="1"
    )
    found = sip_settings(config.sip)
    assert (found.outbound_proxy, found.agent.session_expires_s, found.agent.tcp_enabled) == (
        "sip:proxy.example",
        600,
        True,
    )
    assert found.tls is None


@pytest.mark.parametrize("proxy", ["proxy.example", "http://proxy.example", "sip:", "sip:a b", "<sip:x y>"])
def test_a_malformed_outbound_proxy_is_named(proxy: str) -> None:
    with pytest.raises(ConfigError, match=r"^SIP_OUTBOUND_PROXY: must be a SIP URI$"):
        sip_settings(settings(SIP_OUTBOUND_PROXY=proxy).sip)


@pytest.mark.parametrize(
    ("proxy", "problem"),
    [
        ("sips:proxy.example", "SIP over TLS needs SIP_TLS_PORT"),
        ("sip:proxy.example;transport=tls", "SIP over TLS needs SIP_TLS_PORT"),
        ("sip:proxy.example;transport=ws", "there is no SIP over WS"),
    ],
)
def test_a_proxy_that_could_never_be_reached_is_named(proxy: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"^SIP_OUTBOUND_PROXY: {problem}$"):
        sip_settings(settings(SIP_OUTBOUND_PROXY=proxy).sip)


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")
    config = settings(SIP_TLS_PORT="0", SIP_TLS_CERT=missing, SIP_TLS_KEY=missing)
    with pytest.raises(ConfigError, match=f"^SIP_TLS_CERT: {missing}: No such file or directory$"):
        sip_settings(config.sip)


def test_without_a_port_the_certificates_are_not_read() -> None:
    assert sip_settings(settings(SIP_TLS_CERT="/nowhere", SIP_TLS_KEY="/nowhere").sip).tls is None


@pytest.mark.parametrize("missing", ["SIP_TLS_CERT", "SIP_TLS_KEY"])
def test_a_tls_port_needs_certificate_and_key(missing: str) -> None:
    environ = {"SIP_TLS_PORT": "5061", "SIP_TLS_CERT": "c", "SIP_TLS_KEY": "k"}
    del environ[missing]
    with pytest.raises(ConfigError, match=r"^SIP_TLS_PORT needs SIP_TLS_CERT and SIP_TLS_KEY$"):
        settings(**environ)


@pytest.mark.parametrize("value", ["1", "89", "-1", "90s", "100000"])
def test_a_session_interval_is_nothing_or_long_enough(value: str) -> None:
    with pytest.raises(ConfigError, match="VB_SIP_SESSION_EXPIRES"):
        settings(VB_SIP_SESSION_EXPIRES=value)


@pytest.mark.parametrize("value", ["0", "90", "86400"])
def test_session_intervals_that_may_be_asked_for(value: str) -> None:
    assert settings(VB_SIP_SESSION_EXPIRES=value).sip.session_expires_s == int(value)
