from tests.webrtc.network import seeded
from vb.webrtc.candidate import Candidate
from vb.webrtc.checklist import Checklist, LocalBase, Pair
from vb.webrtc.generation import Generation, new_credentials
from vb.webrtc.nomination import nomination_due, pair_to_nominate, takes_nomination

BASE = LocalBase(("192.0.2.1", 4000), 100, "1", frozenset({4}))


def generation(*priorities: int) -> tuple[Generation, list[Pair]]:
    made = Generation(new_credentials(seeded(1)), Checklist(controlling=True))
    for number, priority in enumerate(priorities, 1):
        candidate = Candidate(str(number), 1, "udp", priority, f"198.51.100.{number}", 5000, "host")
        made.checklist.add_remote(candidate, [BASE])
    return made, list(made.checklist.pairs.values())


def test_the_best_pair_is_asked_for_at_once() -> None:
    made, (worse, best) = generation(1, 2)
    made.works(best, 1.0)
    made.works(worse, 1.0)
    assert pair_to_nominate(made, 1.0) is best


def test_a_worse_pair_waits_a_moment_for_a_better_one() -> None:
    made, (worse, best) = generation(1, 2)
    assert nomination_due(made) is None
    made.works(worse, 1.0)
    assert pair_to_nominate(made, 1.1) is None
    assert nomination_due(made) == 1.2
    assert pair_to_nominate(made, 1.2) is worse
    made.fail(best, 1.1)
    assert pair_to_nominate(made, 1.1) is worse
    assert nomination_due(made) == 1.0


def test_one_pair_at_a_time_is_asked_for_and_none_after_the_choice() -> None:
    made, (pair,) = generation(1)
    made.works(pair, 1.0)
    made.nominating = pair
    assert pair_to_nominate(made, 9.0) is None
    made.nominating, made.selected = None, pair
    assert pair_to_nominate(made, 9.0) is None
    assert nomination_due(made) is None


def test_a_nominated_pair_is_taken_when_it_is_better_or_the_old_one_is_silent() -> None:
    made, (worse, best) = generation(1, 2)
    assert takes_nomination(made, worse, 0.0)
    made.selected = worse
    assert takes_nomination(made, best, 0.0)
    made.selected = best
    best.heard_at = 10.0
    assert not takes_nomination(made, worse, 15.0)
    assert takes_nomination(made, worse, 15.1)
