from tests.webrtc.network import seeded
from vb.webrtc.checklist import Checklist, Pair
from vb.webrtc.checks import MAX_PENDING, Check, PendingChecks
from vb.webrtc.generation import Generation, new_credentials

PAIR = Pair(("192.0.2.1", 1), ("192.0.2.2", 2), 1, 1, ("a", "b"))
GENERATION = Generation(new_credentials(seeded(1)), Checklist(controlling=True))


def check(
    number: int, due_at: float = 0.5, *, consent: bool = False, generation: Generation = GENERATION
) -> Check:
    return Check(PAIR, generation, number.to_bytes(12), b"request", True, False, consent, due_at)


def sent(pending: PendingChecks, now: float) -> list[int]:
    return [item.sent for item in pending.due(now)]


def test_a_request_is_sent_again_at_doubling_intervals_and_then_taken_out() -> None:
    pending = PendingChecks()
    pending.add(check(1))
    times = []
    while (at := pending.deadline()) is not None:
        times.append((at, *sent(pending, at)))
    assert times == [(0.5, 2), (1.5, 3), (3.5, 4), (7.5, 0)]
    assert len(pending) == 0


def test_consent_and_what_was_cancelled_are_sent_once() -> None:
    pending = PendingChecks()
    pending.add(check(1, consent=True))
    pending.add(check(2))
    pending.cancel(lambda item: True)
    found = pending.find((2).to_bytes(12))
    assert found is not None
    assert found.cancelled
    assert sent(pending, 1.0) == [0, 0]
    assert pending.deadline() is None


def test_the_oldest_request_makes_room() -> None:
    pending = PendingChecks()
    for number in range(MAX_PENDING + 1):
        pending.add(check(number))
    assert len(pending) == MAX_PENDING
    assert pending.find((0).to_bytes(12)) is None


def test_only_requests_of_the_generation_that_stays_are_kept() -> None:
    pending = PendingChecks()
    other = Generation(new_credentials(seeded(2)), Checklist(controlling=True))
    pending.add(check(1))
    pending.add(check(2, generation=other))
    pending.keep(other)
    assert pending.find((1).to_bytes(12)) is None
    assert pending.find((2).to_bytes(12)) is not None
    pending.clear()
    assert len(pending) == 0
