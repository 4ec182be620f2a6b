"""RFC 5118 §4, messages with IPv6 addresses: the status that answers each message.

The statuses are those of a user agent that is no registrar, has no call and knows no other name than its
address: 405 for REGISTER, 481 for BYE.
"""

from __future__ import annotations

FROM_USER = "To: sip:user@example.com\nFrom: sip:user@example.com;tag=81x2\n"
VIA_9_1 = "Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111\n"
LONG_CALL_ID = "Call-ID: SSG9559905523997077@hlau_4100\n"
REGISTER_CONTACT = 'Contact: "Caller" <sip:caller@[2001:db8::1]>\n'
REGISTER_HEAD = f"{FROM_USER}{VIA_9_1}{LONG_CALL_ID}"
REGISTER_END = "CSeq: 98176 REGISTER\nContent-Length: 0\n\n"
OPTIONS_END = (
    "From: sip:user@example.com;tag=810x2\n"
    "Via: SIP/2.0/UDP lab1.east.example.com;branch=z9hG4bKas3-111\n"
    "Call-ID: G9559905523997077@hlau_4100\n"
    "CSeq: 689 OPTIONS\nMax-Forwards: 70\nContent-Length: 0\n\n"
)
VIDEO = "m=video 6024 RTP/AVP 107\n"
H263 = "a=rtpmap:107 H263-1998/90000\n"
G726 = "t=3338481189 3370017201\nm=audio 6000 RTP/AVP 2\na=rtpmap:2 G726-32/8000\n"

VALID = {
    # §4.1
    "ipv6-good": (
        405,
        "REGISTER sip:[2001:db8::10] SIP/2.0\n"
        f"{REGISTER_HEAD}Max-Forwards: 70\n{REGISTER_CONTACT}{REGISTER_END}",
    ),
    # §4.3: a valid address, whatever port its writer had in mind.
    "port-ambiguous": (
        405,
        "REGISTER sip:[2001:db8::10:5070] SIP/2.0\n"
        f"{REGISTER_HEAD}{REGISTER_CONTACT}Max-Forwards: 70\n{REGISTER_END}",
    ),
    # §4.4
    "port-unambiguous": (
        405,
        "REGISTER sip:[2001:db8::10]:5070 SIP/2.0\n"
        f"{REGISTER_HEAD}{REGISTER_CONTACT}Max-Forwards: 70\n{REGISTER_END}",
    ),
    # §4.5: the brackets are against the grammar, and still this has to be read and processed.
    "via-received-param-with-delim": (
        481,
        "BYE sip:[2001:db8::10] SIP/2.0\n"
        "To: sip:user@example.com;tag=bd76ya\nFrom: sip:user@example.com;tag=81x2\n"
        "Via: SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111\n"
        f"{LONG_CALL_ID}Max-Forwards: 70\nCSeq: 321 BYE\nContent-Length: 0\n\n",
    ),
    # §4.5
    "via-received-param-no-delim": (
        200,
        f"OPTIONS sip:[2001:db8::10] SIP/2.0\n{FROM_USER}"
        "Via: SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3\n"
        "Call-ID: SSG95523997077@hlau_4100\nMax-Forwards: 70\n"
        'Contact: "Caller" <sip:caller@[2001:db8::9:1]>\nCSeq: 921 OPTIONS\nContent-Length: 0\n\n',
    ),
    # §4.6
    "ipv6-in-sdp": (
        100,
        "INVITE sip:user@[2001:db8::10] SIP/2.0\n"
        "To: sip:user@[2001:db8::10]\nFrom: sip:user@example.com;tag=81x2\n"
        "Via: SIP/2.0/UDP [2001:db8::20];branch=z9hG4bKas3-111\n"
        f'{LONG_CALL_ID}Contact: "Caller" <sip:caller@[2001:db8::20]>\nCSeq: 8612 INVITE\n'
        "Max-Forwards: 70\nContent-Type: application/sdp\nContent-Length: 150\n\n"
        "v=0\no=assistant 971731711378798081 0 IN IP6 2001:db8::20\n"
        f"s=Live video feed for today's meeting\nc=IN IP6 2001:db8::20\n{G726}{VIDEO}{H263}",
    ),
    # §4.7
    "mult-ip-in-header": (
        481,
        "BYE sip:user@host.example.net SIP/2.0\n"
        "Via: SIP/2.0/UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111\n"
        "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144\n"
        "Via: SIP/2.0/TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200\n"
        "Call-ID: 997077@lau_4100\nMax-Forwards: 70\nCSeq: 89187 BYE\n"
        "To: sip:user@example.net;tag=9817--94\nFrom: sip:user@example.com;tag=81x2\nContent-Length: 0\n\n",
    ),
    # §4.8
    "mult-ip-in-sdp": (
        100,
        "INVITE sip:user@[2001:db8::10] SIP/2.0\n"
        f"To: sip:user@[2001:db8::10]\nFrom: sip:user@example.com;tag=81x2\n{VIA_9_1}{LONG_CALL_ID}"
        'Contact: "Caller" <sip:caller@[2001:db8::9:1]>\nMax-Forwards: 70\nCSeq: 8912 INVITE\n'
        "Content-Type: application/sdp\nContent-Length: 150\n\n"
        "v=0\no=bob 280744730 28977631 IN IP4 host.example.com\ns=\nt=0 0\n"
        f"m=audio 22334 RTP/AVP 0\nc=IN IP4 192.0.2.1\n{VIDEO}c=IN IP6 2001:db8::1\n{H263}",
    ),
    # §4.9
    "ipv4-mapped-ipv6": (
        100,
        "INVITE sip:user@example.com SIP/2.0\nTo: sip:user@example.com\n"
        "From: sip:user@east.example.com;tag=81x2\n"
        "Via: SIP/2.0/UDP [::ffff:192.0.2.10]:19823;branch=z9hG4bKbh19\n"
        "Via: SIP/2.0/UDP [::ffff:192.0.2.2];branch=z9hG4bKas3-111\n"
        f'{LONG_CALL_ID}Contact: "T. desk phone" <sip:ted@[::ffff:192.0.2.2]>\n'
        "CSeq: 612 INVITE\nMax-Forwards: 70\nContent-Type: application/sdp\nContent-Length: 150\n\n"
        "v=0\no=assistant 971731711378798081 0 IN IP6 ::ffff:192.0.2.2\n"
        f"s=Call me soon, please!\nc=IN IP6 ::ffff:192.0.2.2\n{G726}{VIDEO}{H263}",
    ),
    # §4.10
    "ipv6-correct-abnf-2-colons": (
        200,
        f"OPTIONS sip:user@[2001:db8::192.0.2.1] SIP/2.0\nTo: sip:user@[2001:db8::192.0.2.1]\n{OPTIONS_END}",
    ),
    # §4.10: the grammar of RFC 3261 has it so, and it has to be tolerated; the extra colon says nothing.
    "ipv6-bug-abnf-3-colons": (
        200,
        "OPTIONS sip:user@[2001:db8:::192.0.2.1] SIP/2.0\n"
        f"To: sip:user@[2001:db8:::192.0.2.1]\n{OPTIONS_END}",
    ),
}

INVALID = {
    # §4.2: an address without its brackets is a fault of the message, whatever its method.
    "ipv6-bad": (
        400,
        "REGISTER sip:2001:db8::10 SIP/2.0\n"
        f"{REGISTER_HEAD}Max-Forwards: 70\n{REGISTER_CONTACT}{REGISTER_END}",
    ),
}
