from vb.webrtc.consent import Consent


def test_checks_are_due_after_five_seconds_and_spread_afterwards() -> None:
    consent = Consent(100.0)
    assert not consent.takes_check(104.9, 0.5)
    assert consent.takes_check(105.0, 0.0)
    assert consent.deadline() == 109.0
    assert consent.takes_check(109.0, 1.0)
    assert not consent.takes_check(114.9, 0.0)
    assert not consent.takes_keepalive(1000.0)


def test_silence_is_told_once_and_again_after_an_answer() -> None:
    consent = Consent(0.0)
    assert not consent.turns_missing(12.4)
    assert consent.turns_missing(12.5)
    assert not consent.turns_missing(13.0)
    assert consent.given(14.0)
    assert not consent.given(15.0)
    assert consent.turns_missing(27.5)


def test_consent_lasts_thirty_seconds_from_the_last_answer() -> None:
    consent = Consent(0.0)
    consent.given(10.0)
    assert not consent.expired(39.9)
    assert consent.expired(40.0)


def test_who_does_not_ask_sends_keepalives_and_misses_nothing_of_a_peer_without_consent() -> None:
    consent = Consent(0.0, asking=False)
    assert not consent.takes_check(100.0, 0.5)
    consent.given(3.0)
    assert consent.deadline() == 15.0
    assert consent.takes_keepalive(15.0)
    assert not consent.takes_keepalive(29.9)
    assert not consent.turns_missing(100.0)
    assert not consent.expired(100.0)


def test_who_does_not_ask_misses_the_requests_of_a_peer_that_keeps_consent() -> None:
    consent = Consent(0.0, asking=False)
    consent.given(5.0)
    assert consent.deadline() == 15.0
    assert consent.takes_keepalive(15.0)
    assert consent.deadline() == 17.5
    assert consent.turns_missing(17.5)
    assert not consent.expired(34.9)
    assert consent.expired(35.0)
