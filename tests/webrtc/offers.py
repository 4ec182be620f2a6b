"""Offers in the forms that browsers give them."""

from __future__ import annotations

FINGERPRINT = "sha-256 " + ":".join(f"{n:02X}" for n in range(32))
UFRAG, PASSWORD = "Ab3+", "0123456789abcdefghij+/"
NAME = "3f2d1c0b-1111-4222-8333-444455556666.local"
CHROME_TRANSPORT = (
    f"a=ice-ufrag:{UFRAG}",
    f"a=ice-pwd:{PASSWORD}",
    "a=ice-options:trickle",
    f"a=fingerprint:{FINGERPRINT}",
    "a=setup:actpass",
)
CHROME_AUDIO = (
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126",
    "c=IN IP4 0.0.0.0",
    "a=rtcp:9 IN IP4 0.0.0.0",
    *CHROME_TRANSPORT,
    "a=mid:0",
    "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
    "a=sendrecv",
    "a=msid:stream track",
    "a=rtcp-mux",
    "a=rtcp-rsize",
    "a=rtpmap:111 opus/48000/2",
    "a=rtcp-fb:111 transport-cc",
    "a=fmtp:111 minptime=10;useinbandfec=1",
    "a=rtpmap:63 red/48000/2",
    "a=fmtp:63 111/111",
    "a=rtpmap:9 G722/8000",
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:13 CN/8000",
    "a=rtpmap:110 telephone-event/48000",
    "a=rtpmap:126 telephone-event/8000",
    "a=ssrc:1234 cname:somebody",
)
CHROME_VIDEO = (
    "m=video 9 UDP/TLS/RTP/SAVPF 96 97",
    "c=IN IP4 0.0.0.0",
    *CHROME_TRANSPORT,
    "a=mid:1",
    "a=sendrecv",
    "a=rtcp-mux",
    "a=rtpmap:96 VP8/90000",
    "a=rtpmap:97 rtx/90000",
    "a=fmtp:97 apt=96",
)
CHROME_DATA = (
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "c=IN IP4 0.0.0.0",
    *CHROME_TRANSPORT,
    "a=mid:2",
    "a=sctp-port:5000",
    "a=max-message-size:262144",
)
CHROME_HEAD = (
    "v=0",
    "o=- 42 2 IN IP4 127.0.0.1",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE 0",
    "a=extmap-allow-mixed",
    "a=msid-semantic: WMS stream",
)
CHROME_HEAD_OF_THREE = tuple(
    "a=group:BUNDLE 0 1 2" if line.startswith("a=group") else line for line in CHROME_HEAD
)
FIREFOX = (
    "v=0",
    "o=mozilla...THIS_IS_SDPARTA-140.0 4242 0 IN IP4 0.0.0.0",
    "s=-",
    "t=0 0",
    f"a=fingerprint:{FINGERPRINT}",
    "a=group:BUNDLE 0",
    "a=ice-options:trickle",
    "a=msid-semantic:WMS *",
    "m=audio 9 UDP/TLS/RTP/SAVPF 109 9 0 8 101",
    "c=IN IP4 0.0.0.0",
    f"a=candidate:0 1 UDP 2122252543 {NAME} 51113 typ host",
    f"a=candidate:1 1 TCP 2105524479 {NAME} 9 typ host tcptype active",
    "a=sendrecv",
    "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "a=extmap:2/recvonly urn:ietf:params:rtp-hdrext:csrc-audio-level",
    "a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid",
    "a=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1",
    "a=fmtp:101 0-15",
    f"a=ice-pwd:{PASSWORD}",
    f"a=ice-ufrag:{UFRAG}",
    "a=mid:0",
    "a=rtcp-mux",
    "a=rtpmap:109 opus/48000/2",
    "a=rtpmap:9 G722/8000/1",
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:101 telephone-event/8000/1",
    "a=setup:actpass",
    "a=ssrc:99 cname:{somebody}",
)
SAFARI = (
    *CHROME_HEAD[:4],
    "a=group:BUNDLE audio",
    "m=audio 51372 UDP/TLS/RTP/SAVPF 111 103 9 102 0 8 105 13 110 113 126",
    "c=IN IP4 198.51.100.4",
    "a=candidate:1 1 udp 2113937151 198.51.100.4 51372 typ host generation 0 network-cost 999",
    "a=candidate:2 1 udp 1677729535 203.0.113.4 51372 typ srflx raddr 0.0.0.0 rport 0 generation 0",
    *CHROME_TRANSPORT,
    "a=mid:audio",
    "a=extmap:14 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "a=sendrecv",
    "a=rtcp-mux",
    "a=rtpmap:111 opus/48000/2",
    "a=fmtp:111 minptime=10;useinbandfec=1",
    "a=rtpmap:103 ISAC/16000",
    "a=rtpmap:9 G722/8000",
    "a=rtpmap:102 ILBC/8000",
    "a=rtpmap:105 CN/16000",
    "a=rtpmap:110 telephone-event/48000",
    "a=rtpmap:113 telephone-event/16000",
    "a=rtpmap:126 telephone-event/8000",
)


def sdp(*lines: str) -> bytes:
    """Joins lines into a description."""
    return "".join(f"{line}\r\n" for line in lines).encode()


CHROME = (*CHROME_HEAD, *CHROME_AUDIO)
CHROME_ALL = (*CHROME_HEAD_OF_THREE, *CHROME_AUDIO, *CHROME_VIDEO, *CHROME_DATA)


def changed(lines: tuple[str, ...], before: str, after: str | None) -> bytes:
    """Returns an offer in which the lines that begin with `before` are replaced, or left out."""
    assert any(line.startswith(before) for line in lines)
    kept = (after if line.startswith(before) else line for line in lines)
    return sdp(*(line for line in kept if line is not None))
