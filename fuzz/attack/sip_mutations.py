"""Ways to damage a SIP message. What comes out never names a host beyond the loopback interface."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

from fuzz.attack.sip_corpus import Draft, sdp_offer

_QUAD = re.compile(rb"\b(?!127\.)[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9.])")
_HOST = re.compile(rb"(/[A-Za-z]+[ \t]+|[@:])(?=[0-9.-]*[A-Za-z])[A-Za-z0-9.-]+(?=[:;>\s,?])")
_MAX_DATAGRAM = 65_000

HUGE_NUMBERS = [
    "0",
    "-1",
    "4294967295",
    "4294967296",
    "18446744073709551616",
    "9" * 400,
    "1e9",
    "0x10",
    "٣",
    "",
]
ODD_TEXT = [
    "\x00", "\x01", "\x7f", "\u2028", "\ud83d", "é" * 50, "%00", "%", "%zz", "\\", '"', "<", ">", ";", ",",
    "=",
    "\t", " ", "\r", "\n", "\r\n ", "\r\n\t", "..", "::", "[::1", "[", "@", "sip:", "sips:", "tel:+1", "*",
    "z9hG4bK",
]  # fmt: skip
ODD_URIS = [
    "sip:", "sip:@", "sip:a@b@127.0.0.1", "sip:127.0.0.1:0", "sip:127.0.0.1:99999", "sip:127.0.0.1:-1",
    "sip:[::1]",
    "sip:[::1", "sip:[zz]", "sips:a@127.0.0.1", "tel:+1234", "mailto:a@nowhere.invalid",
    "http://127.0.0.1/", "*", "",
    "sip:a@127.0.0.1;transport=tls", "sip:a@127.0.0.1;maddr=127.0.0.9;ttl=0", "sip:%@127.0.0.1",
    "sip:a@127.0.0.1?To=x",
    "sip:a@nowhere.invalid", "sip:" + "a" * 5000 + "@127.0.0.1", "sip:a@127.0.0.1;" + "p;" * 500,
    "sip:a@127.0.0.256",
]  # fmt: skip


class Mutator:
    """Damages messages, by parts and by bytes."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self._drafts: list[Callable[[Draft], None]] = [
            self._drop_header, self._drop_header, self._double_header, self._odd_value, self._odd_value,
            self._huge_value,
            self._huge_number, self._wrong_length, self._bad_sdp, self._bad_sdp, self._bad_sdp, self._fold,
            self._odd_name,
            self._odd_uri, self._odd_uri, self._many_headers, self._many_vias, self._compact,
            self._start_line, self._swap,
            self._via, self._multipart,
        ]  # fmt: skip
        self._bytes: list[Callable[[bytes], bytes]] = [
            self._cut, self._flip, self._flip, self._insert, self._repeat, self._line_ends, self._binary,
            self._splice,
        ]  # fmt: skip

    def mutate(self, draft: Draft) -> bytes:
        """One to three injuries, then the bytes that go on the wire."""
        if draft.body_only:
            if draft.body:
                self._bad_sdp(draft)
            return draft.to_bytes()[:_MAX_DATAGRAM]
        kind = self.random.random()
        for _ in range(self.random.randint(1, 3) if kind < 0.75 else 0):
            self.random.choice(self._drafts)(draft)
        data = draft.to_bytes()
        if kind > 0.55:
            data = self.random.choice(self._bytes)(data)
        return keep_home(data)[:_MAX_DATAGRAM]

    # -- parts --------------------------------------------------------------------------------------------

    def _index(self, draft: Draft) -> int:
        return self.random.randrange(len(draft.headers)) if draft.headers else -1

    def _drop_header(self, draft: Draft) -> None:
        if draft.headers:
            del draft.headers[self._index(draft)]

    def _double_header(self, draft: Draft) -> None:
        if draft.headers:
            name, value = draft.headers[self._index(draft)]
            draft.headers.insert(
                self._index(draft), (name, self.random.choice([value, value + "x", "other"]))
            )

    def _odd_value(self, draft: Draft) -> None:
        if draft.headers:
            index = self._index(draft)
            name, value = draft.headers[index]
            at = self.random.randint(0, len(value))
            odd = self.random.choice(ODD_TEXT)
            draft.headers[index] = (
                name,
                self.random.choice([odd, value[:at] + odd + value[at:], value[:at]]),
            )

    def _huge_value(self, draft: Draft) -> None:
        if draft.headers:
            index = self._index(draft)
            piece = self.random.choice(
                ["a", "(", '"', "<", ",", ";", "\\", "é", " ", ";a=b", "<sip:a@127.0.0.1>,"]
            )
            size = self.random.choice([300, 4000, 9000, 60_000])
            draft.headers[index] = (draft.headers[index][0], (piece * size)[:size])

    def _huge_number(self, draft: Draft) -> None:
        number = self.random.choice(HUGE_NUMBERS)
        name = self.random.choice(
            ["CSeq", "Max-Forwards", "Expires", "Session-Expires", "RSeq", "Min-SE", "MIME-Version"]
        )
        draft.set(name, f"{number} {draft.start.split(' ')[0]}" if name == "CSeq" else number)

    def _wrong_length(self, draft: Draft) -> None:
        draft.content_length = self.random.choice(
            [*HUGE_NUMBERS, str(len(draft.body) + 1), str(len(draft.body) // 2), "1, 2"]
        )

    def _bad_sdp(self, draft: Draft) -> None:
        draft.set(
            "Content-Type",
            self.random.choice(["application/sdp"] * 8 + ["application/sdp;x", "text/plain", "/", "a"]),
        )
        draft.body = self.sdp()

    def _fold(self, draft: Draft) -> None:
        if draft.headers:
            index = self._index(draft)
            name, value = draft.headers[index]
            draft.headers[index] = (
                name,
                value.replace(" ", self.random.choice(["\r\n ", "\r\n\t", "\r\n  \r\n "])),
            )

    def _odd_name(self, draft: Draft) -> None:
        if draft.headers:
            index = self._index(draft)
            name, value = draft.headers[index]
            odd = self.random.choice(["\x01", " ", "\t", ":", "", "é", "\x00", "(", "-"])
            draft.headers[index] = (self.random.choice([name + odd, odd + name, odd]), value)

    def _odd_uri(self, draft: Draft) -> None:
        uri = self.random.choice(ODD_URIS)
        where = self.random.choice(["start", "From", "To", "Contact", "Record-Route", "Route", "Refer-To"])
        if where == "start":
            parts = draft.start.split(" ")
            draft.start = " ".join([parts[0], uri, *parts[2:]])
            return
        tag = ";tag=abc" if where == "From" else ""
        draft.set(where, self.random.choice([f"<{uri}>{tag}", uri + tag, f'"\\" <{uri}>{tag}', f"<{uri}"]))

    def _many_headers(self, draft: Draft) -> None:
        count = self.random.choice([100, 255, 257, 5000])
        draft.headers += [
            (self.random.choice(["X", "Record-Route", "Contact", "Route"]), "<sip:127.0.0.1>")
        ] * count

    def _many_vias(self, draft: Draft) -> None:
        count = self.random.choice([69, 71, 200, 1000])
        via = f"SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{count}"
        if self.random.random() < 0.5:
            draft.headers += [("Via", via)] * count
        else:
            draft.headers.append(("Via", ", ".join([via] * count)))

    def _compact(self, draft: Draft) -> None:
        short = {"Via": "v", "From": "f", "To": "t", "Call-ID": "i", "Contact": "m", "Content-Type": "c"}
        draft.headers = [(short.get(name, name), value) for name, value in draft.headers]

    def _start_line(self, draft: Draft) -> None:
        draft.start = self.random.choice([
            "", " ", "INVITE", "INVITE  sip:a@127.0.0.1  SIP/2.0", draft.start.replace("2.0", "3.0"),
            draft.start.lower(), draft.start + " ", "\x00" + draft.start,
            draft.start.replace("sip:", "sip:" * 50),
            "SIP/2.0 99 x", "SIP/2.0 700 x", "SIP/2.0 200", "SIP/2.0 0200 OK", "GET / HTTP/1.1",
            "A" * 9000 + draft.start,
        ])  # fmt: skip

    def _swap(self, draft: Draft) -> None:
        self.random.shuffle(draft.headers)

    def _via(self, draft: Draft) -> None:
        draft.set("Via", self.random.choice([
            "SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bKa", "SIP/2.0/UDP 127.0.0.1:0;branch=z9hG4bKa",
            "SIP/2.0/UDP :5060",
            "SIP/2.0/UDP [::1]:9;branch=z9hG4bKb", "SIP/2.0/UDP nowhere.invalid;branch=z9hG4bKc",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP 127.0.0.1:9;rport=1;received=127.0.0.3;branch=",
            "SIP/2.0/TLS 127.0.0.1:9;branch=z9hG4bKd",
            "SIP/2.0/UDP 127.0.0.1:9;maddr=127.0.0.8;ttl=255;branch=z9hG4bKe",
            "SIP / 2.0 / UDP 127.0.0.1 : 9 ; branch = z9hG4bKf",
            f"SIP/2.0/UDP {'h' * 300}.invalid;branch=z9hG4bKg", ",",
            "SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKx,,",
        ]))  # fmt: skip

    def _multipart(self, draft: Draft) -> None:
        boundary = self.random.choice(["b", "", "-" * 70, "b" * 300, '"'])
        draft.set("Content-Type", f"multipart/mixed;boundary={boundary}")
        part = (
            b"--" + boundary.encode() + b"\r\nContent-Type: application/sdp\r\n\r\n" + sdp_offer(9) + b"\r\n"
        )
        draft.body = part * self.random.choice([0, 1, 2, 100]) + self.random.choice(
            [b"", b"--" + boundary.encode() + b"--"]
        )

    def sdp(self) -> bytes:
        """A session description with injuries."""
        lines = sdp_offer(2 * self.random.randint(5000, 30000)).split(b"\r\n")[:-1]
        for _ in range(self.random.randint(1, 4)):
            at = self.random.randrange(len(lines)) if lines else 0
            choice = self.random.randint(0, 5)
            if choice == 0 and lines:
                del lines[at]
            elif choice == 1 and lines:
                lines.insert(at, self.random.choice(lines))
            elif choice == 2:
                lines.insert(at, self.random.choice(_SDP_LINES))
            elif choice == 3 and lines:
                lines[at] = self._flip(lines[at])
            elif choice == 4:
                lines += [self.random.choice(_SDP_LINES)] * self.random.choice([1, 30, 1000])
            elif lines:
                lines[at] = re.sub(rb"[0-9]+", self.random.choice(HUGE_NUMBERS).encode(), lines[at], count=1)
        return self.random.choice([b"\r\n"] * 6 + [b"\n", b"\r", b"\0"]).join(lines) + b"\r\n"

    # -- bytes --------------------------------------------------------------------------------------------

    def _cut(self, data: bytes) -> bytes:
        return data[: self.random.randint(0, len(data))]

    def _flip(self, data: bytes) -> bytes:
        out = bytearray(data)
        for _ in range(self.random.choice([1, 2, 8, 40]) if out else 0):
            out[self.random.randrange(len(out))] = self.random.randrange(256)
        return bytes(out)

    def _insert(self, data: bytes) -> bytes:
        at = self.random.randint(0, len(data))
        return data[:at] + self.random.randbytes(self.random.choice([1, 4, 100, 3000])) + data[at:]

    def _repeat(self, data: bytes) -> bytes:
        at = self.random.randint(0, len(data))
        return data[:at] + data[at : at + 40] * self.random.choice([2, 50, 500]) + data[at:]

    def _line_ends(self, data: bytes) -> bytes:
        return data.replace(b"\r\n", self.random.choice([b"\n", b"\r", b"\r\r\n", b"\r\n\r\n", b"\0"]))

    def _binary(self, data: bytes) -> bytes:
        return self.random.randbytes(self.random.choice([1, 3, 12, 400, 9000]))

    def _splice(self, data: bytes) -> bytes:
        half = self.random.randint(0, len(data))
        return data[half:] + data[:half]


_SDP_LINES = [
    b"m=audio 9 RTP/SAVP 0", b"m=audio 0 RTP/AVP 0", b"m=video 9 RTP/AVP 96", b"m=audio 70000 RTP/AVP 0",
    b"m=audio -2 RTP/AVP 0",
    b"m=audio 9/2 RTP/AVP 0", b"m=audio 9 RTP/AVP", b"m=audio 9 RTP/AVP 999",
    b"m=audio 9 RTP/AVP " + b"0 " * 400, b"m=",
    b"c=IN IP4 0.0.0.0", b"c=IN IP4 127.0.0.1/127", b"c=IN IP6 ::1", b"c=IN IP4 nowhere.invalid", b"c=",
    b"a=rtpmap:0 opus/48000/2",
    b"a=rtpmap:-1 PCMU/8000", b"a=rtpmap:96 PCMU/0", b"a=rtpmap:96 PCMU/999999999999", b"a=rtpmap:96",
    b"a=rtpmap:96 " + b"x" * 8000,
    b"a=ptime:0", b"a=ptime:-20", b"a=ptime:99999999999", b"a=ptime:nan", b"a=maxptime:1",
    b"a=fmtp:101 0-99999999", b"a=fmtp:111 =;=",
    b"a=rtcp:99999", b"a=rtcp:9 IN IP4 nowhere.invalid", b"a=rtcp-mux", b"a=inactive", b"a=sendonly",
    b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 x",
    b"a=", b"=", b"x", b"\x00\x01", b"a=\xff\xfe", b"o=- 99999999999999999999 1 IN IP4 127.0.0.1", b"t=0",
    b"z=1 -1h", b"k=clear:x",
]  # fmt: skip


def keep_home(data: bytes) -> bytes:
    """Point every address that is not on the loopback interface back to it, and every name to nowhere."""
    return _HOST.sub(rb"\1nowhere.invalid", _QUAD.sub(b"127.0.0.1", data))
