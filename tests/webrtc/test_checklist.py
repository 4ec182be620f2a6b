from vb.webrtc.candidate import Candidate, CandidateType, candidate_priority
from vb.webrtc.checklist import MAX_PAIRS, MAX_REMOTE, Checklist, LocalBase, PairState

IPV4 = LocalBase(("192.0.2.1", 4000), candidate_priority("host"), "1", frozenset({4}))
IPV6 = LocalBase(("2001:db8::1", 4000), candidate_priority("host", 65_534), "2", frozenset({6}))


def remote(host: str, port: int = 9000, kind: CandidateType = "host", foundation: str = "f") -> Candidate:
    return Candidate(foundation, 1, "udp", candidate_priority(kind), host, port, kind)


def states(checklist: Checklist) -> list[PairState]:
    return [pair.state for pair in checklist.pairs.values()]


def test_only_addresses_of_one_family_are_paired() -> None:
    checklist = Checklist(controlling=True)
    assert checklist.add_remote(remote("198.51.100.1"), [IPV4, IPV6])
    assert checklist.add_remote(remote("2001:db8::2", foundation="g"), [IPV4, IPV6])
    assert [route[0] for route in checklist.pairs] == [IPV4.key, IPV6.key]


def test_names_and_candidates_that_are_known_make_no_pair() -> None:
    checklist = Checklist(controlling=True)
    assert not checklist.add_remote(remote("a.local"), [IPV4])
    assert checklist.add_remote(remote("198.51.100.1"), [IPV4])
    assert not checklist.add_remote(remote("198.51.100.1"), [IPV4])
    assert len(checklist.pairs) == 1


def test_a_later_base_is_paired_with_what_is_known() -> None:
    checklist = Checklist(controlling=True)
    checklist.add_remote(remote("198.51.100.1"), [])
    checklist.add_base(IPV4)
    assert list(checklist.pairs) == [(IPV4.key, ("198.51.100.1", 9000))]


def test_both_sides_give_a_pair_the_same_priority() -> None:
    ours, theirs = Checklist(controlling=True), Checklist(controlling=False)
    here = ours.reflexive(IPV4, ("198.51.100.1", 1), 77)
    assert here is not None
    mirrored = LocalBase(("198.51.100.1", 1), 77, "x", frozenset({4}))
    there = theirs.reflexive(mirrored, IPV4.key, IPV4.priority)
    assert there is not None
    assert ours.priority(here) == theirs.priority(there) == (77 << 32) + 2 * IPV4.priority + 1


def test_pairs_of_one_foundation_are_checked_after_each_other() -> None:
    checklist = Checklist(controlling=True)
    for port in (1, 2, 3):
        checklist.add_remote(remote("198.51.100.1", port), [IPV4])
    assert states(checklist) == [PairState.WAITING, PairState.FROZEN, PairState.FROZEN]
    first = checklist.next_pair()
    assert first is not None
    first.state = PairState.IN_PROGRESS
    assert checklist.next_pair() is None
    first.state = PairState.FAILED
    second = checklist.next_pair()
    assert second is not None
    assert second.remote[1] == 2
    checklist.succeeded(second)
    assert states(checklist) == [PairState.FAILED, PairState.SUCCEEDED, PairState.WAITING]


def test_better_pairs_go_first_and_triggered_ones_before_all() -> None:
    checklist = Checklist(controlling=True)
    checklist.add_remote(remote("198.51.100.1", 1, "relay", "a"), [IPV4])
    checklist.add_remote(remote("198.51.100.1", 2, "host", "b"), [IPV4])
    relay, host = checklist.pairs.values()
    assert checklist.next_pair() is host
    checklist.trigger(relay)
    checklist.trigger(relay)
    assert checklist.next_pair() is relay
    assert checklist.next_pair() is host
    assert checklist.next_pair(above=checklist.priority(host)) is None


def test_a_list_is_full_at_some_time_and_gives_up_what_has_failed() -> None:
    checklist = Checklist(controlling=False)
    for port in range(1, 200):
        checklist.add_remote(remote("198.51.100.1", port), [IPV4])
    assert len(checklist.remotes) == len(checklist.pairs) == MAX_REMOTE
    for port in range(1000, 1000 + MAX_PAIRS):
        assert checklist.reflexive(IPV4, ("198.51.100.2", port), 5) is not None
    assert len(checklist.pairs) == MAX_PAIRS
    for pair in checklist.pairs.values():
        pair.state = PairState.IN_PROGRESS
    assert checklist.reflexive(IPV4, ("198.51.100.3", 1), 5) is None
    dead = checklist.pairs[IPV4.key, ("198.51.100.2", 1063)]
    dead.state = PairState.FAILED
    assert checklist.reflexive(IPV4, ("198.51.100.3", 1), 5) is not None
    assert dead.route not in checklist.pairs
    assert len(checklist.pairs) == MAX_PAIRS
    assert checklist.refused > 0


def test_a_full_list_of_pairs_that_work_gives_up_the_one_heard_longest_ago() -> None:
    checklist = Checklist(controlling=False)
    for port in range(MAX_PAIRS):
        pair = checklist.reflexive(IPV4, ("198.51.100.2", port), 1000 - port)
        assert pair is not None
        pair.state, pair.heard_at = PairState.SUCCEEDED, float(port)
    first, second, third, *_ = checklist.pairs.values()
    checklist.selected = first
    third.state = PairState.WAITING
    for port, gone in ((1, third), (2, second)):
        fresh = checklist.reflexive(IPV4, ("198.51.100.3", port), 5)
        assert fresh is not None
        fresh.state, fresh.heard_at = PairState.SUCCEEDED, 100.0
        assert gone.route not in checklist.pairs
    assert checklist.pairs[first.route] is first
    assert len(checklist.pairs) == MAX_PAIRS


def test_the_selected_pair_is_never_given_up() -> None:
    checklist = Checklist(controlling=False)
    for port in range(MAX_PAIRS):
        assert checklist.reflexive(IPV4, ("198.51.100.2", port), 5) is not None
    selected, *others = checklist.pairs.values()
    for other in others:
        other.state = PairState.IN_PROGRESS
    checklist.selected = selected
    for state in (PairState.SUCCEEDED, PairState.FAILED, PairState.WAITING):
        selected.state = state
        assert checklist.reflexive(IPV4, ("198.51.100.3", 1), 5) is None


def test_a_pair_that_was_given_up_is_not_checked_any_more() -> None:
    checklist = Checklist(controlling=False)
    pair = checklist.reflexive(IPV4, ("198.51.100.2", 1), None)
    assert pair is not None
    checklist.trigger(pair)
    del checklist.pairs[pair.route]
    assert checklist.next_pair() is None
