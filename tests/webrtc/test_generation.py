import re

from tests.webrtc.network import seeded
from vb.sdp.ice import Credentials
from vb.webrtc.candidate import local_candidate, parse_candidate
from vb.webrtc.checklist import Checklist, PairState
from vb.webrtc.generation import CONNECT_LIMIT_S, Generation, Generations, new_credentials

BASE = ("192.0.2.1", 4000)
REMOTE = parse_candidate("1 1 udp 99 198.51.100.1 5000 typ host")
THEIRS = Credentials("them", "p" * 24)


def generations(*, controlling: bool = True) -> Generations:
    made = Generations(seeded(1), controlling=controlling)
    made.add_local(local_candidate("host", BASE), BASE)
    return made


def test_credentials_have_the_alphabet_and_the_length_of_ice() -> None:
    made = {new_credentials(seeded(n)) for n in range(50)}
    assert len(made) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9+/]{8}", item.ufrag) for item in made)
    assert all(re.fullmatch(r"[A-Za-z0-9+/]{24}", item.password) for item in made)


def test_nothing_is_checked_before_the_peers_credentials_are_known() -> None:
    made = generations()
    made.add_remote(REMOTE)
    assert not made.newest.has_next()
    assert [made.newest.connect_by] == [None]
    made.newest.remote = THEIRS
    made.newest.started_at = 5.0
    assert made.newest.has_next()
    assert made.newest.connect_by == 5.0 + CONNECT_LIMIT_S
    assert made.newest.username == b"them:" + made.newest.local.ufrag.encode()


def test_failed_pairs_get_another_round_after_a_rest() -> None:
    made = generations()
    made.add_remote(REMOTE)
    newest = made.newest
    newest.remote = THEIRS
    pair = newest.next_pair()
    assert pair is not None
    newest.nominating = pair
    newest.fail(pair, 10.0)
    assert [newest.nominating] == [None]
    newest.retry(10.9)
    assert [pair.state] == [PairState.FAILED]
    newest.retry(11.0)
    assert newest.next_pair() is pair


def test_of_a_restart_only_the_pair_in_use_and_the_newest_generation_stay() -> None:
    made = generations()
    first = made.current
    made.newest.remote = THEIRS
    second = made.begin()
    third = made.begin()
    assert list(made) == [first, third]
    assert third.local != second.local
    made.settle()
    assert list(made) == [third]


def test_a_candidate_goes_to_the_generation_that_it_names() -> None:
    made = generations()
    made.newest.remote = THEIRS
    made.begin().remote = Credentials("next", "q" * 24)
    for name, index in (("them", 0), ("next", 1)):
        candidate = parse_candidate(f"1 1 udp 99 198.51.100.1 5000 typ host ufrag {name}")
        assert made.add_remote(candidate)
        assert len(list(made)[index].checklist.pairs) == 1
    assert not made.add_remote(parse_candidate("1 1 udp 99 198.51.100.1 5000 typ host ufrag gone"))
    assert len(list(made.pairs_at(REMOTE.address, BASE))) == 2


def test_after_a_choice_only_better_pairs_are_checked_and_none_by_who_controls() -> None:
    for controlling, expected in ((True, False), (False, True)):
        made = generations(controlling=controlling)
        made.add_remote(REMOTE)
        newest = made.newest
        newest.remote = THEIRS
        newest.selected = newest.next_pair()
        assert newest.selected is not None
        newest.works(newest.selected, 0.0)
        better = parse_candidate("2 1 udp 200 198.51.100.2 5000 typ host")
        worse = parse_candidate("3 1 udp 2 198.51.100.3 5000 typ host")
        made.add_remote(worse)
        assert not newest.has_next()
        made.add_remote(better)
        assert newest.has_next() == expected
        assert newest.best is newest.selected


def test_a_change_of_role_takes_a_nomination_back() -> None:
    made = generations()
    made.add_remote(REMOTE)
    made.newest.nominating = next(iter(made.newest.checklist.pairs.values()))
    made.set_role(controlling=False)
    assert [made.newest.nominating] == [None]
    assert not made.newest.checklist.controlling


def test_without_a_peer_a_generation_signs_with_nothing() -> None:
    empty = Generation(Credentials("a", "b"), Checklist(controlling=True))
    assert (empty.remote_key, empty.username, empty.best, empty.next_pair()) == (b"", b":a", None, None)
