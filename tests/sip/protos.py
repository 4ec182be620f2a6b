"""Damaged INVITEs after the method of the PROTOS suite c07-sip: every element, every class of anomaly.

The method is the published one: a valid INVITE, one element of which at a time is replaced by values out of
classes of anomalies, and a CANCEL and an ACK after each that end what it may have begun. The cases are ours,
and the same in every run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

# A line is its name and its elements, [name=value]; the last word of an element's name tells what it is.
HEAD: Final = """\
start [method=INVITE][gap= ][scheme=sip][colon=:][user=bob][at=@][host=127.0.0.1][port-colon=:][port=5062]\
[uri-params=;transport=udp][uri-gap= ][protocol=SIP][slash=/][major-number=2][dot=.][minor-number=0]
via [name=Via][colon=: ][protocol=SIP/2.0][slash=/][transport=UDP][gap= ][host=127.0.0.1][port-colon=:]\
[port=5061][semicolon=;][param=branch][equals==][branch=z9hG4bK{0}]
from [name=From][colon=: ][display="Alice" ][open=<][uri=sip:alice@127.0.0.1][close=>]\
[semicolon=;][param=tag][equals==][tag=from-{0}]
to [name=To][colon=: ][display=Bob ][open=<][uri=sip:bob@127.0.0.1:5062][close=>]
call-id [name=Call-ID][colon=: ][value={0}][at=@][host=127.0.0.1]
cseq [name=CSeq][colon=: ][number=1][gap= ][method=INVITE]
contact [name=Contact][colon=: ][open=<][uri=sip:alice@127.0.0.1:5061][close=>]
max-forwards [name=Max-Forwards][colon=: ][number=70]
expires [name=Expires][colon=: ][number=120]
content-type [name=Content-Type][colon=: ][type=application][slash=/][subtype=sdp]
content-length [name=Content-Length][colon=: ][number={length}]
empty """
BODY: Final = """\
v [name=v][equals==][number=0]
o [name=o][equals==][user=-][gap= ][number=1][gap= ][version-number=1][gap= ][net=IN][gap= ][family=IP4]\
[gap= ][host=127.0.0.1]
s [name=s][equals==][value=-]
c [name=c][equals==][net=IN][gap= ][family=IP4][gap= ][host=127.0.0.1]
t [name=t][equals==][number=0][gap= ][stop-number=0]
m [name=m][equals==][media=audio][gap= ][port=4000][gap= ][protocol=RTP/AVP][gap= ][number=0]
a [name=a][equals==][attribute=rtpmap][colon=:][number=0][gap= ][codec=PCMU][slash=/][rate-number=8000]"""
LENGTHS: Final = (17, 257, 4097, 8193, 65300)
_FAR: Final = LENGTHS[1::2]
_PUNCTUATION: Final = frozenset("gap colon at slash dot end semicolon equals open close".split())  # noqa: SIM905  # shorter
_ELEMENT: Final = re.compile(r"\[([a-z-]+)=(=|[^\]]*)\]")


def _words(text: bytes) -> tuple[bytes, ...]:
    return tuple(text.split())


_ANY: Final = {
    "empty": (b"",),
    "run": tuple(character * length for character in (b"a", b" ") for length in LENGTHS),
    "separator": (
        *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\r\n ", b"\t", b"  ", b"\0"),
        *_words(b', ;; : = / @ <> " \\'),
    ),
}
_TEXT: Final = {
    "long run": tuple(character * length for character in (b"0", b"%", b"<", b"\xff") for length in _FAR),
    "format": (b"%s", b"%n", b"%s" * 64, b"%n" * 64, b"%99999999x", b"%.9999d", b"{1}", b"$(id)"),
    "encoding": (
        *(b"\xc3\xa9", b"\xe9", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf"),
        *(b"\x01\x1b\x7f", b"a\x00b", b"%00", b"%"),
    ),
}
_POWERS: Final = (7, 8, 15, 16, 31, 32, 63, 64)
_NUMBER: Final = {
    "integer": (
        *_words(b"0 -1 00 01 +1 0x10 1.5 1e9 ~0 -2147483648 -4294967296"),
        *(b"%d" % (2**bits + more) for bits in _POWERS for more in (-1, 0)),
        *(b"9" * 40, "٣".encode()),
    )
}
_ADDRESS: Final = {
    "address": (
        *_words(
            b"0.0.0.0 255.255.255.255 256.1.1.1 127.0.0 127.0.0.1.1 127.1 2130706433 0x7f.1 127.0.0.-1 ."
        ),
        *_words(b"[::1] [::] ::1 [::1 [] [:::] [::ffff:127.0.0.1] [1:2:3:4:5:6:7:8:9] [::1%lo]"),
        *_words(b"localhost -a a..b a_b"),
    )
}
_URI: Final = {
    "uri": (
        *_words(b"sip: sip:@ sip:a@ sip:@b sips:a@b SIP:a@b sip:a@b@c sip:a:b:c@d sip:a@b:0 sip:a@b:65536"),
        *_words(b"sip:a@b:-1 tel:+1 http://a/ mailto:a@b urn:a:b :a a: //a sip://a@b sip:a%@b sip:%zz@b"),
        *_words(b"sip:a@b; sip:a@b;x= sip:a@b;lr;lr sip:a@b;transport= sip:a@b;transport=x sip:a@b?x=y"),
        *_words(b"sip:a@b? * sip:a@[::1 sip:a@256.1.1.1"),
    )
}


@dataclass(frozen=True, slots=True)
class Element:
    """A piece of the message, for instance `via.port`."""

    name: str
    value: bytes

    @property
    def line(self) -> str:
        """The line it stands in: `start`, a header's name in lower case, or SDP's letter."""
        return self.name.partition(".")[0]

    @property
    def kind(self) -> str:
        """What it is."""
        return self.name.rpartition(".")[2].rpartition("-")[2]


@dataclass(frozen=True, slots=True)
class Case:
    """One message with one element replaced.

    Attributes:
        number: counts from 0, and makes branch, tag and Call-ID.
        element: what is replaced.
        group: class of the anomaly.
        anomaly: what stands there instead.
        position: of the element in the message.
    """

    number: int
    element: Element
    group: str
    anomaly: bytes
    position: int

    @property
    def is_torn(self) -> bool:
        """Whether lines end elsewhere than they should, so that further headers are hit."""
        if self.position >= HEAD_ELEMENTS:
            return False
        folded = self.element.kind == "name" and self.anomaly[:1] in (b" ", b"\t")
        return folded or self.element.kind == "end" or b"\r" in self.anomaly or b"\n" in self.anomaly

    def __str__(self) -> str:
        shown = self.anomaly if len(self.anomaly) < 40 else self.anomaly[:8] + b"..%d" % len(self.anomaly)
        return f"{self.number} {self.element.name} {self.group} {shown!r}"

    def message(self, method: str = "INVITE") -> bytes:
        """The message; with another method its CANCEL or ACK, which has the same damage elsewhere."""
        other = {} if method == "INVITE" else {"start.method": method, "cseq.method": method}
        pieces = [
            self.anomaly if index == self.position else other.get(element.name, "").encode() or element.value
            for index, element in enumerate(ELEMENTS)
        ]
        if self.element.name in other:
            pieces[self.position] = method.encode()
        head, body = b"".join(pieces[:HEAD_ELEMENTS]), b"".join(pieces[HEAD_ELEMENTS:])
        if method != "INVITE":
            body = b""
        values: Mapping[bytes, int] = {b"{0}": self.number, b"{length}": len(body)}
        for field, value in values.items():
            head = head.replace(field, b"%d" % value)
        return head + body


def elements(template: str) -> list[Element]:
    """Take a template apart."""
    found = []
    for line in template.splitlines():
        name, _, rest = line.partition(" ")
        found += [Element(f"{name}.{part}", value.encode()) for part, value in _ELEMENT.findall(rest)]
        found.append(Element(f"{name}.end", b"\r\n"))
    return found


ELEMENTS: Final = (*elements(HEAD), *elements(BODY))
HEAD_ELEMENTS: Final = len(elements(HEAD))


def cases() -> Iterator[Case]:
    """Make every case."""
    number = 0
    done: set[str] = set()
    for position, element in enumerate(ELEMENTS):
        if element.name in done:
            continue  # one of several alike
        done.add(element.name)
        groups = dict(_ANY)
        if element.kind not in _PUNCTUATION:
            groups |= _TEXT
        if element.kind in ("number", "port"):
            groups |= _NUMBER
        if element.kind == "host":
            groups |= _ADDRESS
        if element.kind == "uri":
            groups |= _URI
        for group, anomalies in groups.items():
            for anomaly in anomalies:
                yield Case(number, element, group, anomaly, position)
                number += 1


def undamaged(number: int) -> Case:
    """A case whose message is valid."""
    return replace(next(cases()), number=number, anomaly=ELEMENTS[0].value, group="none")
