"""S8: new calls by the thousand; the app answers some of them, and nobody acknowledges."""

from __future__ import annotations

import http.client
import json
import time
from random import Random

from fuzz.attack.briefing import Briefing, check, figure
from fuzz.attack.sip_corpus import Corpus
from fuzz.attack.sip_datagrams import Sources

S8 = "S8 INVITE flood"
PACE_PER_S = 2000


def run(briefing: Briefing) -> None:
    """Flood, let the app answer a few, and stay silent."""
    random = Random(briefing.seed)
    corpus = Corpus(random, briefing)
    sources = Sources(briefing.sip, 2)
    silent = Sources(briefing.sip, 2)
    total = PACE_PER_S * (1 if briefing.quick else 5)
    began = time.monotonic()
    for index in range(total):
        party = silent if index % 2 else sources
        draft = corpus.invite(party.local(index))
        party.send(index, draft.to_bytes())
        ahead = began + index / PACE_PER_S - time.monotonic()
        if index % 16 == 0 or ahead > 0:
            sources.collect(max(0.0, ahead))
            if index % 160 == 0:
                _drain(silent)
    elapsed = time.monotonic() - began
    sources.collect(1.0)
    _drain(silent)
    answers = sources.answers + silent.answers
    pace = f"{total} INVITEs in {elapsed:.1f} s ({total / elapsed:.0f}/s)"
    figure(S8, f"{pace}; answers {dict(sorted(answers.items()))}")
    check(S8, answers[503] > 0, "no INVITE was refused with 503")
    answered = _answer_some(briefing)
    figure(S8, f"{answered} ringing calls answered by the app, none acknowledged")
    sources.close()
    silent.close()


def _drain(sources: Sources) -> None:
    """Count what came without acknowledging anything."""
    for sock in sources.sockets:
        while True:
            try:
                data = sock.recv(65536)
            except (BlockingIOError, ConnectionRefusedError):
                break
            if data.startswith(b"SIP/2.0 "):
                sources.answers[int(data[8:11])] += 1


def _answer_some(briefing: Briefing) -> int:
    connection = http.client.HTTPConnection(*briefing.http, timeout=10)
    connection.request("GET", "/v1/legs")
    legs = json.loads(connection.getresponse().read())
    ringing = [leg.get("id") or leg["leg_id"] for leg in legs if leg["state"] == "ringing"]
    done = 0
    for leg in ringing[:20]:
        connection.request("POST", f"/v1/legs/{leg}/answer", "{}", {"Content-Type": "application/json"})
        reply = connection.getresponse()
        reply.read()
        done += reply.status == 202
    connection.close()
    return done
