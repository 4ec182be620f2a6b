import importlib.util
from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from tests.support.web import local_web
from vb.config import Config, S3Config
from vb.dns_records import Answer, Kind
from vb.errors import BadRequest, ConfigError, Conflict, NotAvailable
from vb.names import PATIENCE_S, NameLookup, Resolve
from vb.recording.storage import RecordingStorage, S3Choice
from vb.storage.address import StoredObject
from vb.storage.base import Bucket, HostRefused, Unreachable
from vb.storage.s3 import S3Target

SERVER = {
    "S3_BUCKET": "ours",
    "S3_REGION": "eu-central-1",
    "S3_ENDPOINT": "https://s3.example.com/",
    "S3_PREFIX": "calls/",
    "AWS_ACCESS_KEY_ID": "our-key",
    "AWS_SECRET_ACCESS_KEY": "our-secret",
    "AWS_SESSION_TOKEN": "our-token",
}


KEYS = {"access_key": "a", "secret_key": "b"}


def storage(*allowed: str, **environ: str) -> RecordingStorage:
    return RecordingStorage(Config.from_env(environ).s3, local_web(allowed))


def test_without_any_bucket_s3_is_not_configured() -> None:
    with pytest.raises(BadRequest, match="S3 storage not configured"):
        storage().s3_target(S3Choice(region="eu-west-1"))


def test_the_servers_bucket_is_used_when_none_is_named() -> None:
    target = storage(**SERVER).s3_target(S3Choice())
    assert (target.bucket, target.region, target.prefix) == ("ours", "eu-central-1", "calls/")
    assert target.endpoint == "https://s3.example.com"
    assert (target.access_key, target.secret_key, target.session_token) == (
        "our-key",
        "our-secret",
        "our-token",
    )


def test_a_request_may_vary_the_servers_bucket() -> None:
    target = storage(**SERVER).s3_target(S3Choice(prefix="other/"))
    assert (target.bucket, target.prefix, target.region) == ("ours", "other/", "eu-central-1")


def test_each_field_of_a_request_takes_the_place_of_the_servers() -> None:
    target = storage(**SERVER).s3_target(S3Choice(bucket="theirs"))
    assert (target.bucket, target.region, target.prefix) == ("theirs", "eu-central-1", "calls/")
    assert (target.endpoint, target.access_key, target.guarded) == (
        "https://s3.example.com",
        "our-key",
        False,
    )
    target = storage(**SERVER).s3_target(S3Choice(region="us-east-2", **KEYS))
    assert (target.bucket, target.region, target.access_key) == ("ours", "us-east-2", "a")


def test_the_servers_endpoint_holds_without_a_bucket_of_its_own() -> None:
    found = storage(S3_ENDPOINT="http://minio:9000", AWS_ACCESS_KEY_ID="k", AWS_SECRET_ACCESS_KEY="s")
    target = found.s3_target(S3Choice(bucket="theirs"))
    assert (target.endpoint, target.region, target.guarded) == ("http://minio:9000", "us-east-1", False)


def test_an_endpoint_that_cannot_be_used_ends_the_start() -> None:
    with pytest.raises(ConfigError, match="S3_ENDPOINT: "):
        storage(S3_ENDPOINT="http://s3.example.com")


def test_keys_of_a_request_never_go_with_a_token_of_the_server() -> None:
    target = storage(**SERVER).s3_target(S3Choice(bucket="theirs", access_key="a", secret_key="b"))
    assert (target.access_key, target.secret_key, target.session_token) == ("a", "b", "")


@pytest.mark.parametrize(
    "choice",
    [
        S3Choice(bucket="a/b"),
        S3Choice(bucket="theirs", endpoint="http://s3.example.com", **KEYS),
        S3Choice(bucket="theirs", endpoint="nonsense", **KEYS),
        S3Choice(bucket="theirs", prefix="a//b"),
        S3Choice(bucket="theirs", access_key="a"),
        S3Choice(bucket="theirs", secret_key="b"),
        S3Choice(bucket="theirs", region="eu west"),
    ],
)
def test_what_cannot_be_used_is_a_bad_request(choice: S3Choice) -> None:
    with pytest.raises(BadRequest, match="s3_"):
        storage().s3_target(choice)


def test_plain_http_on_a_public_host_can_be_allowed() -> None:
    choice = S3Choice(bucket="theirs", endpoint="http://s3.example.com", **KEYS)
    assert storage(S3_ALLOW_INSECURE_ENDPOINT="true").s3_target(choice).endpoint == "http://s3.example.com"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("S3_BUCKET", "a/b"),
        ("S3_REGION", "eu west"),
        ("S3_ENDPOINT", "http://s3.example.com"),
        ("S3_ENDPOINT", "nonsense"),
        ("S3_PREFIX", "a//b"),
        ("AWS_ACCESS_KEY_ID", ""),
        ("AWS_SECRET_ACCESS_KEY", ""),
    ],
)
def test_a_setting_that_cannot_be_used_ends_the_start_by_its_own_name(name: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        storage(**{**SERVER, name: value})
    assert name in str(caught.value)
    assert "s3_" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"), [("S3_PREFLIGHT_TIMEOUT", "soon"), ("S3_ALLOW_INSECURE_ENDPOINT", "x")]
)
def test_a_setting_that_cannot_be_read_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Config.from_env({name: value})


PRIVATE = [
    "http://127.0.0.1:9000",
    "http://127.8.8.8",
    "https://127.0.0.1:9000",
    "http://10.1.2.3",
    "https://192.168.0.9:9000",
    "http://169.254.169.254",
    "https://169.254.169.254",
    "https://100.64.0.1",
    "https://0.0.0.0",
    "http://[::1]:9000",
    "https://[::1]",
    "https://[::ffff:127.0.0.1]",
    "https://[fd00::1]",
    "https://[fe80::1]",
    "http://2130706433",
    "https://0x7f000001",
    "https://127.1",
]


@pytest.mark.parametrize("endpoint", PRIVATE)
def test_an_address_that_is_not_public_is_refused_in_a_request(endpoint: str) -> None:
    with pytest.raises(BadRequest, match="s3_endpoint"):
        storage(S3_ALLOW_INSECURE_ENDPOINT="true").s3_target(
            S3Choice(bucket="theirs", endpoint=endpoint, **KEYS)
        )


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9000", "https://127.8.8.8", "http://10.1.2.3"])
def test_an_address_that_the_operator_opened_is_taken(endpoint: str) -> None:
    opened = storage("127.0.0.0/8", "10.1.2.3").s3_target(
        S3Choice(bucket="theirs", endpoint=endpoint, **KEYS)
    )
    assert (opened.endpoint, opened.guarded) == (endpoint, True)


def test_the_operators_own_endpoint_may_be_anywhere() -> None:
    own = storage(**{**SERVER, "S3_ENDPOINT": "http://127.0.0.1:9000"})
    assert not own.s3_target(S3Choice()).guarded
    assert not own.s3_target(S3Choice(prefix="other/")).guarded


@pytest.mark.parametrize("bucket", ["", "theirs"])
def test_the_servers_keys_are_not_lent_to_an_endpoint_of_a_request(bucket: str) -> None:
    choice = S3Choice(bucket=bucket, endpoint="https://s3.example.org")
    with pytest.raises(BadRequest, match="s3_endpoint needs s3_access_key and s3_secret_key"):
        storage(**SERVER).s3_target(choice)


def test_a_request_that_names_the_operators_endpoint_has_the_servers_keys() -> None:
    target = storage(**SERVER).s3_target(S3Choice(bucket="theirs", endpoint="https://S3.example.com:443"))
    assert (target.endpoint, target.access_key, target.guarded) == (
        "https://s3.example.com",
        "our-key",
        False,
    )


def test_without_keys_the_package_that_finds_them_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NotAvailable, match=r"vb\[storage\]"):
        storage().s3_target(S3Choice(bucket="theirs"))
    assert storage().s3_target(S3Choice(bucket="theirs", **KEYS)).access_key == "a"
    with pytest.raises(ConfigError, match=r"S3_BUCKET: .*vb\[storage\]"):
        storage(S3_BUCKET="ours")


class Names:
    """A resolver that knows a few names, and what it was asked."""

    def __init__(self, **known: list[str]) -> None:
        self.known = known
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        await trio.lowlevel.checkpoint()
        if host not in self.known:
            raise OSError("no such name")
        return self.known[host]


def resolving(names: Resolve) -> RecordingStorage:
    return RecordingStorage(S3Config(), local_web(resolve=names))


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["::1"]])
async def test_a_name_that_leads_inside_is_refused_before_the_recording(addresses: list[str]) -> None:
    names = Names(minio=addresses)
    found = resolving(names)
    target = found.s3_target(S3Choice(bucket="theirs", endpoint="http://minio:9000", **KEYS))
    with pytest.raises(BadRequest, match="s3_endpoint: host minio is not allowed"):
        await found.check(target, None)


async def test_a_name_is_judged_anew_for_each_connection() -> None:
    names = Names(rebound=["10.0.0.1"])
    found = resolving(names)
    bucket = found._open_bucket(
        found.s3_target(S3Choice(bucket="theirs", endpoint="http://rebound:9000", **KEYS))
    )
    for address in ("10.0.0.1", "169.254.169.254"):
        names.known["rebound"] = [address]
        with pytest.raises(HostRefused, match="s3_endpoint: host rebound is not allowed"):
            await bucket.check()
    assert names.asked == ["rebound", "rebound"]


async def test_a_name_that_is_not_known_is_only_a_doubt() -> None:
    found = resolving(Names())
    target = found.s3_target(S3Choice(bucket="theirs", endpoint="https://nobody.example", **KEYS))
    await found.check(target, "name.wav")
    with pytest.raises(Unreachable, match="the storage does not answer"):
        await found._open_bucket(target).check()


async def test_a_resolver_that_hangs_is_given_up(autojump_clock: MockClock) -> None:
    async def hang(name: str, kind: Kind, within_s: float) -> Answer:
        await trio.sleep_forever()
        raise AssertionError

    found = resolving(NameLookup("operator", lookup=hang))
    target = found.s3_target(S3Choice(bucket="ours", **KEYS))
    with pytest.raises(Unreachable):
        await found._open_bucket(target).check()
    assert trio.current_time() == PATIENCE_S


async def test_no_check_is_made_when_it_is_switched_off() -> None:
    settings = S3Config(bucket="ours", preflight_timeout_s=0, request_preflight_timeout_s=0)

    def never(target: S3Target) -> Bucket:
        raise AssertionError("a check was made")

    checked = RecordingStorage(settings, make_bucket=never)
    await checked.check_server_bucket()
    await checked.check(checked.s3_target(S3Choice()), "name.wav")


OWN_KEYS = {"access_key": "our-key", "secret_key": "our-secret"}


@pytest.mark.parametrize(
    ("choice", "opened_by"),
    [
        (S3Choice(), "server"),
        (S3Choice(prefix="other/"), "server"),
        (S3Choice(bucket="theirs", region="us-east-2"), "server"),  # the server's credentials wrote it
        (S3Choice(bucket="theirs", **KEYS), "request"),
        (S3Choice(bucket="theirs", endpoint="https://s3.example.org", **KEYS), "request"),
        (S3Choice(bucket="ours", endpoint="https://s3.example.org", **KEYS), "request"),
        (S3Choice(**KEYS), "server"),  # its own bucket at its own storage
        (S3Choice(bucket="theirs", endpoint="https://s3.example.org", **OWN_KEYS), "request"),
    ],
)
async def test_what_is_kept_of_a_bucket_tells_whose_credentials_open_it(
    choice: S3Choice, opened_by: str
) -> None:
    found = storage("s3.example.org", **SERVER)
    told: list[StoredObject] = []
    found.on_upload = lambda path, stored: told.append(stored)
    target = found.s3_target(choice)
    found.upload(target, ["/recordings/a.wav"])  # refused at once: nobody runs uploads
    (kept,) = told
    assert (kept.opened_by, kept.bucket, kept.key) == (opened_by, target.bucket, target.key("a.wav"))
    assert "secret" not in kept.text()
    if opened_by == "request":
        with pytest.raises(Conflict, match="only the credentials of its request"):
            await found.find(kept)
        assert await found.delete(kept.text()) is False


async def test_an_object_of_another_storage_is_not_looked_for_in_ours() -> None:
    kept = StoredObject("ours", "calls/a.wav", "server", "eu-central-1", "https://the-one-before.example.com")
    for found in (storage(**SERVER), storage()):
        assert await found.delete(kept.text()) is False
        with pytest.raises(Conflict):
            await found.find(kept)
    assert await storage(**SERVER).delete("s3://theirs/a.wav") is False
    assert await storage(**SERVER).delete("nothing of this kind") is False
