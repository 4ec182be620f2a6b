from __future__ import annotations

import pytest

from vb.sip.digest import MAX_ATTEMPTS, Challenge, Credentials, DigestClient, authorization, parse_challenge
from vb.sip.errors import SipParseError
from vb.sip.message import Headers, Response

MUFASA = Credentials("Mufasa", "Circle of Life")
URI = "/dir/index.html"
REST = 'qop="auth", algorithm=MD5-sess'


def test_md5_vector_of_rfc7616_3_9_1() -> None:
    challenge = parse_challenge(
        'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    value = authorization(
        challenge, MUFASA, "GET", URI, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", nonce_count=1
    )
    assert 'response="8ca523f5e9506fed4657c9700eebdbec"' in value
    assert "qop=auth, nc=00000001" in value
    assert 'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"' in value


def test_sha_256_vector_of_rfc7616_3_9_1() -> None:
    challenge = Challenge(
        "http-auth@example.org", "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "SHA-256", qop=("auth",)
    )
    value = authorization(
        challenge, MUFASA, "GET", URI, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", nonce_count=1
    )
    assert 'response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"' in value


def test_a_challenge_without_qop_is_answered_as_in_rfc2069() -> None:
    value = authorization(
        Challenge("r", "n"), Credentials("u", "p"), "INVITE", "sip:a", cnonce="c", nonce_count=1
    )
    assert "qop" not in value
    assert "nc=" not in value
    assert "algorithm" not in value


def test_session_algorithms_depend_on_the_cnonce() -> None:
    challenge = Challenge("r", "n", "MD5-sess", qop=("auth",))
    one, two = (
        authorization(challenge, MUFASA, "INVITE", "sip:a", cnonce=c, nonce_count=1) for c in ("c1", "c2")
    )
    assert one != two


@pytest.mark.parametrize(
    "value",
    [
        "Basic realm=x",
        "Digest",
        'Digest realm="x"',
        'Digest realm="x", realm="y", nonce="n"',
        "Digest ,,",
        "Digest a",
    ],
)
def test_what_is_no_challenge(value: str) -> None:
    with pytest.raises(SipParseError):
        parse_challenge(value)


@pytest.mark.parametrize("gap", [" ", "\t", "  ", " \t "])
def test_any_white_space_parts_the_scheme_from_its_fields(gap: str) -> None:
    challenge = parse_challenge(f'{gap}DIGEST{gap}Realm="t"{gap},{gap}nonce{gap}={gap}"n"{gap}')
    assert (challenge.realm, challenge.nonce) == ("t", "n")


def challenged(*values: str) -> Response:
    return Response(401, "", Headers([("WWW-Authenticate", value) for value in values]))


def client() -> DigestClient:
    return DigestClient(MUFASA, lambda: "cnonce")


def test_the_first_usable_challenge_of_a_realm_is_answered() -> None:
    response = challenged(
        'Digest realm="a", nonce="1", algorithm=SHA-512-256',
        'Digest realm="a", nonce="2", algorithm=SHA-256',
        'Digest realm="a", nonce="3", algorithm=MD5',
        'Digest realm="b", nonce="4"',
    )
    answers = client().answer(response, "INVITE", "sip:a", Headers(), 0)
    assert answers is not None
    assert ['nonce="2"' in answers[0][1], 'nonce="4"' in answers[1][1]] == [True, True]


def test_auth_int_alone_is_not_answered() -> None:
    response = challenged('Digest realm="a", nonce="1", qop="auth-int"')
    assert client().answer(response, "INVITE", "sip:a", Headers(), 0) is None


def test_the_nonce_count_rises_with_each_use() -> None:
    digest, response = client(), challenged('Digest realm="a", nonce="1", qop="auth"')
    for count in ("00000001", "00000002"):
        answers = digest.answer(response, "BYE", "sip:a", Headers(), 0)
        assert answers is not None
        assert f"nc={count}" in answers[0][1]


def test_a_refused_realm_is_not_tried_again_unless_stale() -> None:
    digest = client()
    sent = Headers([("Authorization", 'Digest username="x", realm="a", nonce="1"')])
    assert digest.answer(challenged('Digest realm="a", nonce="2"'), "BYE", "sip:a", sent, 1) is None
    stale = challenged('Digest realm="a", nonce="2", stale=TRUE')
    assert digest.answer(stale, "BYE", "sip:a", sent, 1) is not None


def test_what_other_realms_were_told_is_told_again() -> None:
    digest, sent = client(), Headers()
    proxy = Response(407, "", Headers([("Proxy-Authenticate", 'Digest realm="p", nonce="1", qop="auth"')]))
    callee = challenged('Digest realm="a", nonce="2"')
    for attempt, challenge in enumerate((proxy, callee)):
        answers = digest.answer(challenge, "INVITE", "sip:a", sent, attempt)
        assert answers is not None
        sent = Headers(answers)
    assert answers is not None
    told = dict(answers)
    assert 'realm="a"' in told["Authorization"]
    assert 'realm="p"' in told["Proxy-Authorization"]
    assert "nc=00000002" in told["Proxy-Authorization"]


def test_two_proxies_both_keep_their_answers() -> None:
    digest, sent = client(), Headers()
    for attempt, realm in enumerate("ab"):
        challenge = Headers([("Proxy-Authenticate", f'Digest realm="{realm}", nonce="{realm}"')])
        answers = digest.answer(Response(407, "", challenge), "INVITE", "sip:a", sent, attempt)
        assert answers is not None
        sent = Headers(answers)
    realms = {value.partition('realm="')[2][0] for value in sent.get_all("Proxy-Authorization")}
    assert realms == {"a", "b"}


@pytest.mark.parametrize(
    "challenge", ['Digest realm="a", nonce="{0}", stale=true', 'Digest realm="{0}", nonce="1"']
)
def test_a_request_is_not_tried_for_ever(challenge: str) -> None:
    digest, sent = client(), Headers()
    for attempt in range(MAX_ATTEMPTS):
        answers = digest.answer(challenged(challenge.format(attempt)), "INVITE", "sip:a", sent, attempt)
        assert answers is not None
        sent = Headers(answers)
    last = challenged(challenge.format("last"))
    assert digest.answer(last, "INVITE", "sip:a", sent, MAX_ATTEMPTS) is None


def test_a_password_is_not_shown() -> None:
    assert "Circle" not in repr(MUFASA)


def test_a_nonce_keeps_its_cnonce_for_the_key_of_a_session() -> None:
    cnonces = iter("abc")
    client = DigestClient(MUFASA, lambda: next(cnonces))
    said = [
        client.answer(
            Response(
                407, "", Headers([("Proxy-Authenticate", f'Digest realm="r", nonce="{nonce}", {REST}')])
            ),
            *("INVITE", "sip:a", Headers(), 0),
        )
        for nonce in ("n1", "n1", "n2")
    ]
    values = [answers[0][1] for answers in said if answers is not None]
    assert ['cnonce="a"' in value for value in values] == [True, True, False]
    assert [value[-8:] for value in values] == ["00000001", "00000002", "00000001"]
