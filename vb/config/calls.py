"""Settings of the process, its edges, and the calls that it carries."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from vb.choices import KNOWN_CODECS, MIXING_RATES_HZ, MIXING_RATES_TEXT, SrtpKeying, SrtpPolicy
from vb.limits.destinations import Destinations
from vb.settings import (
    Bool,
    Group,
    IPv4,
    IPv6,
    Port,
    Seconds,
    Words,
    check_advertised,
    check_allow,
    check_codecs,
    check_domain,
    check_edge,
    check_external_ips,
    check_host_port,
    check_name_servers,
    check_networks,
    check_reachable,
    check_url,
    check_user_agent,
    parse_auto,
    parse_list,
    setting,
)


def _check_destinations(value: tuple[str, ...]) -> tuple[str, ...]:
    Destinations(value)
    return value


class ServerConfig(Group):
    """The process itself."""

    instance_id: str = setting(
        "INSTANCE_ID", "identifies this process in events and bodies", "", shown="random UUID"
    )
    log_level: Literal["debug", "info", "warn", "error"] = setting(
        "LOG_LEVEL", "least level that is logged", "info"
    )
    max_legs: Annotated[int, Field(ge=0)] = setting(
        "VB_MAX_LEGS", "most legs at a time; further calls get 503; 0 = no cap", 0
    )
    max_calls_per_second: Annotated[int, Field(ge=0, le=100_000)] = setting(
        "VB_MAX_CPS", "most new calls a second; further ones get 503; 0 = no cap", 0
    )
    dial_allow: Annotated[Words, AfterValidator(_check_destinations)] = setting(
        "VB_DIAL_ALLOW",
        "destinations of outgoing calls, their proxies and transfers: number prefixes, @host or prefix@host, "
        "refused with ! before; the longest that matches decides; empty = all",
        (),
    )
    app_max_calls: Annotated[int, Field(ge=0)] = setting(
        "VB_APP_MAX_CALLS", "most outgoing calls of each app_id at a time; others get 429; 0 = no cap", 0
    )
    app_max_calls_per_second: Annotated[int, Field(ge=0, le=100_000)] = setting(
        "VB_APP_MAX_CPS", "most outgoing calls of each app_id a second; others get 429; 0 = no cap", 0
    )
    app_max_minutes: Annotated[int, Field(ge=0)] = setting(
        "VB_APP_MAX_MINUTES",
        "most answered minutes of each app_id's outgoing calls in a UTC day; then calls get 429; 0 = no cap",
        0,
    )
    drain_timeout_s: Seconds = setting(
        "VB_DRAIN_TIMEOUT", "how long a stop lets calls finish before it hangs them up", 0.0, shown="0"
    )
    stop_timeout_s: Seconds = setting(
        "VB_STOP_TIMEOUT", "how long a stop waits for hang-ups and webhooks", 10.0, shown="10s"
    )
    dns_servers: Annotated[Words, AfterValidator(check_name_servers)] = setting(
        "VB_DNS_SERVERS", "name servers to ask, as ip, ip:port or [ipv6]:port; empty = the system's", ()
    )
    fetch_allow: Annotated[Words, AfterValidator(check_allow)] = setting(
        "VB_FETCH_ALLOW", "hosts and networks that request URLs may reach although they are private", ()
    )


class HttpConfig(Group):
    """REST, VSI, metrics and documents."""

    addr: Annotated[str, AfterValidator(check_host_port)] = setting(
        "HTTP_ADDR", "listen address of REST, WebSocket and metrics", ":8080"
    )
    allowed_ips: Annotated[Words, AfterValidator(check_networks)] = setting(
        "ALLOWED_IPS", "addresses and networks that may connect to HTTP; empty = all", ()
    )
    trust_proxy_headers: Bool = setting(
        "TRUST_PROXY_HEADERS", "take the client's address from X-Forwarded-For", False
    )
    api_tokens: Annotated[tuple[SecretStr, ...], BeforeValidator(parse_list)] = setting(
        "VB_API_TOKENS", "bearer tokens, any of which opens REST, VSI and metrics; empty = none needed", ()
    )
    vsi_event_buffer_size: Annotated[int, Field(ge=16, le=1_000_000)] = setting(
        "VSI_EVENT_BUFFER_SIZE", "events that wait for a VSI client that has taken nothing for a second", 256
    )
    vsi_buffer_bytes: Annotated[int, Field(ge=65_536, le=1_073_741_824)] = setting(
        "VB_VSI_BUFFER_BYTES",
        "bytes of events that wait for each VSI client, whether it reads or not",
        8_388_608,
    )


class WebhookConfig(Group):
    """The global webhook."""

    url: Annotated[str, AfterValidator(check_url)] = setting(
        "WEBHOOK_URL", "receives every event that no leg or room hook takes", ""
    )
    spool_dir: str = setting(
        "VB_SPOOL_DIR", "folder that keeps undelivered webhooks over a stop or a crash; empty = none", ""
    )
    secret: SecretStr = setting(
        "WEBHOOK_SECRET", "signs the bodies sent to WEBHOOK_URL", SecretStr(""), shown=""
    )


class SipConfig(Group):
    """SIP signalling and what calls offer."""

    bind_ip: Annotated[IPv4, AfterValidator(check_advertised)] = setting(
        "SIP_BIND_IP", "IPv4 address advertised in SIP and SDP; 0.0.0.0 detects it", "127.0.0.1", min_length=7
    )
    bind_ipv6: Annotated[IPv6, AfterValidator(check_advertised)] = setting(
        "SIP_BIND_IPV6", "the same for IPv6; empty turns IPv6 off, :: detects it", ""
    )
    listen_ip: IPv4 = setting("SIP_LISTEN_IP", "IPv4 address bound when it differs", "", shown="SIP_BIND_IP")
    listen_ipv6: IPv6 = setting(
        "SIP_LISTEN_IPV6", "IPv6 address bound when it differs", "", shown="SIP_BIND_IPV6"
    )
    external_ip: Annotated[IPv4, AfterValidator(check_reachable)] = setting(
        "SIP_EXTERNAL_IP", "advertised instead of SIP_BIND_IP behind a static NAT", ""
    )
    port: Port = setting("SIP_PORT", "UDP and TCP port; 0 binds a free one", 5060)
    tcp_enabled: Bool = setting(
        "SIP_TCP_ENABLED", "also listen on TCP, and send requests over 1300 bytes by it", False
    )
    tls_port: Port | None = setting(
        "SIP_TLS_PORT", "TLS port; 0 binds a free one, unset turns TLS off both ways", None, shown="off"
    )
    tls_cert: str = setting("SIP_TLS_CERT", "file with our certificate chain (PEM)", "")
    tls_key: str = setting("SIP_TLS_KEY", "file with its key (PEM)", "")
    tls_ca_file: str = setting(
        "SIP_TLS_CA_FILE", "file with further trust anchors for outgoing TLS (PEM)", "", shown="system's only"
    )
    tls_insecure_skip_verify: Bool = setting(
        "SIP_TLS_INSECURE_SKIP_VERIFY", "accept any certificate on outgoing TLS", False
    )
    outbound_proxy: str = setting(
        "SIP_OUTBOUND_PROXY", "SIP URI of the next hop of outgoing calls that name none", "", shown="none"
    )
    session_expires_s: Annotated[int, Field(ge=0, le=86_400)] = setting(
        "VB_SIP_SESSION_EXPIRES",
        "seconds that outgoing calls ask to live without a refresh; 90 or more; 0 = do not ask",
        1800,
    )
    debug: Bool = setting("SIP_DEBUG", "log SIP messages (at level debug)", False)
    domain: Annotated[str, AfterValidator(check_domain)] = setting(
        "SIP_DOMAIN", "host in From and P-Asserted-Identity", "", shown="advertised address"
    )
    host: Annotated[str, AfterValidator(check_user_agent)] = setting(
        "SIP_HOST", "User-Agent and Server text, and the user of a default From", "voiceblender"
    )
    codecs: Annotated[Words, AfterValidator(check_codecs)] = setting(
        "SIP_CODECS", "enabled codecs in order of preference", KNOWN_CODECS, shown=",".join(KNOWN_CODECS)
    )
    ring_timeout_s: Seconds = setting(
        "VB_RING_TIMEOUT", "how long an incoming call may wait for an answer; 0 = for ever", 0.0, shown="0"
    )
    auto_ringing: Bool = setting("SIP_AUTO_RINGING", "send 180 to every incoming call at once", False)
    use_source_socket: Bool = setting(
        "SIP_USE_SOURCE_SOCKET", "answer to the packet's source, whatever Via and Contact say", False
    )
    refer_auto_dial: Bool = setting(
        "SIP_REFER_AUTO_DIAL", "carry out far ends' REFERs without asking the application", False
    )
    refer_consult_timeout_ms: Annotated[int, Field(ge=0, le=30_000)] = setting(
        "SIP_REFER_CONSULT_TIMEOUT_MS",
        "how long a far end's REFER waits for the application; 0 declines it at once",
        2000,
    )
    srtp: SrtpPolicy = setting(
        "VB_SIP_SRTP",
        "SRTP of calls: off offers none, preferred offers it and takes plain audio too, required refuses "
        "plain audio; what comes in with SRTP is always answered with it",
        "off",
    )
    srtp_keying: SrtpKeying = setting(
        "VB_SIP_SRTP_KEYING",
        "how SRTP that we offer gets its keys: sdes in the session description, dtls by a handshake beside "
        "the media; what comes in is answered in its own way",
        "sdes",
    )
    dtmf_info: Bool = setting("VB_DTMF_INFO", "digits by INFO requests too, either way", False)
    dtmf_inband: Bool = setting(
        "VB_DTMF_INBAND", "listen for digits in the audio of calls without telephone-events", False
    )
    webhook_header: Bool = setting(
        "VB_SIP_WEBHOOK_HEADER",
        "a caller's X-Webhook-URL receives the events of its call, in place of WEBHOOK_URL",
        True,
    )
    strict_mline_answer: Bool = setting(
        "SIP_SDP_STRICT_MLINE_ANSWER", "accepted for compatibility: every m-line is always answered", False
    )

    @model_validator(mode="after")
    def _check_tls_and_timer(self) -> SipConfig:
        if self.tls_port is not None and not (self.tls_cert and self.tls_key):
            raise ValueError("SIP_TLS_PORT needs SIP_TLS_CERT and SIP_TLS_KEY")
        if 0 < self.session_expires_s < 90:
            raise ValueError("VB_SIP_SESSION_EXPIRES must be 0 or at least 90")
        return self


class RtpConfig(Group):
    """Media transport."""

    port_min: Port = setting("RTP_PORT_MIN", "first port of the RTP pool; 0 with RTP_PORT_MAX=0: any", 10000)
    port_max: Port = setting("RTP_PORT_MAX", "last port of the RTP pool", 20000)
    jitter_buffer_ms: Annotated[int, Field(ge=0, le=1000)] | None = setting(
        "SIP_JITTER_BUFFER_MS",
        "fixed play-out delay; 0 plays as packets come, unset adapts",
        None,
        shown="adaptive",
    )
    jitter_buffer_max_ms: Annotated[int, Field(ge=20, le=2000)] = setting(
        "SIP_JITTER_BUFFER_MAX_MS", "most delay that play-out may build up", 300
    )
    timeout_s: Seconds = setting(
        "VB_RTP_TIMEOUT",
        "silence of the far end after which an answered call ends; 0 = never",
        30.0,
        shown="30s",
    )
    relatch: Bool = setting(
        "VB_RTP_RELATCH", "follow a far end that goes on sending from another address", True
    )


class WebRtcConfig(Group):
    """How browsers reach us."""

    ice_servers: Annotated[tuple[SecretStr, ...], BeforeValidator(parse_list)] = setting(
        "ICE_SERVERS",
        "STUN and TURN servers: stun:host:port, turn: or turns:user:password@host?transport=tcp; none = none",
        (SecretStr("stun:stun.l.google.com:19302"),),
        shown="stun:stun.l.google.com:19302",
    )
    external_ips: Annotated[Words, AfterValidator(check_external_ips)] = setting(
        "WEBRTC_EXTERNAL_IPS",
        "addresses that browsers are told in place of our own behind a 1:1 NAT; auto asks a STUN server",
        (),
    )


class WhatsAppConfig(Group):
    """Where WhatsApp's calls go, and whom they come from."""

    edge: Annotated[str, AfterValidator(check_edge)] = setting(
        "VB_WHATSAPP_EDGE", "host:port that calls to WhatsApp go to, by SIP over TLS", "wa.meta.vc:5061"
    )
    domain: Annotated[str, AfterValidator(check_domain)] = setting(
        "VB_WHATSAPP_DOMAIN",
        "calls over TLS whose From is of this domain, or one below it, are WhatsApp's",
        "meta.vc",
    )


class WebSocketConfig(Group):
    """WebSocket legs and listeners."""

    jitter_buffer_ms: Annotated[int, Field(le=10_000)] = setting(
        "WS_JITTER_BUFFER_MS",
        "how much of what a WebSocket sends is held back against stalls; 0 or less plays audio as it comes",
        0,
    )


class MoqConfig(Group):
    """MoQ legs: programs and browsers that come by WebTransport."""

    enabled: Bool = setting("MOQ_ENABLED", "take MoQ legs over WebTransport", False)
    listen_addr: Annotated[str, AfterValidator(check_host_port)] = setting(
        "MOQ_LISTEN_ADDR", "UDP listen address of WebTransport", ":8443"
    )
    tls_cert_file: str = setting(
        "MOQ_TLS_CERT_FILE", "file with its certificate chain (PEM); without files it makes its own", ""
    )
    tls_key_file: str = setting("MOQ_TLS_KEY_FILE", "file with its key (PEM)", "")
    opus_bitrate: Annotated[int, Field(ge=6000, le=510_000)] = setting(
        "MOQ_OPUS_BITRATE", "bit/s of the Opus that MoQ legs are sent", 24_000
    )


class RoomConfig(Group):
    """Rooms and mixing."""

    opus_complexity: Annotated[Annotated[int, Field(ge=0, le=10)] | None, BeforeValidator(parse_auto)] = (
        setting(
            "VB_OPUS_COMPLEXITY",
            "work that Opus encoders put into a frame, 0 to 10; auto takes 5 at most, less as load grows",
            None,
            shown="auto",
        )
    )
    default_sample_rate: int = setting(
        "DEFAULT_SAMPLE_RATE", f"rate of new rooms in Hz: {MIXING_RATES_TEXT}", 16000
    )
    comfort_noise: Bool = setting("COMFORT_NOISE_ENABLED", "fill silent mixes with faint noise", True)
    pass_through: Bool = setting(
        "VB_PASS_THROUGH", "hand payloads on unmixed between two legs of one G.711 law", True
    )

    @model_validator(mode="after")
    def _check_rate(self) -> RoomConfig:
        if self.default_sample_rate not in MIXING_RATES_HZ:
            raise ValueError(f"DEFAULT_SAMPLE_RATE must be {MIXING_RATES_TEXT}")
        return self


class SpeechConfig(Group):
    """What is told from how legs sound."""

    detection: Bool = setting(
        "SPEECH_DETECTION_ENABLED", "tell when far ends speak, unless a call says otherwise", False
    )
