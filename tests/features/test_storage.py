import pytest

from vb.config import Config, S3Config
from vb.errors import BadRequest, ConfigError
from vb.features.storage import RecordingStorage, S3Choice
from vb.storage.base import Bucket

SERVER = {
    "S3_BUCKET": "ours",
    "S3_REGION": "eu-central-1",
    "S3_ENDPOINT": "https://s3.example.com/",
    "S3_PREFIX": "calls/",
    "AWS_ACCESS_KEY_ID": "our-key",
    "AWS_SECRET_ACCESS_KEY": "our-secret",
    "AWS_SESSION_TOKEN": "our-token",
}


def storage(**environ: str) -> RecordingStorage:
    return RecordingStorage(Config.from_env(environ).s3)


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


def test_a_request_that_names_a_bucket_describes_it_fully() -> None:
    target = storage(**SERVER).s3_target(S3Choice(bucket="theirs"))
    assert (target.bucket, target.region, target.endpoint, target.prefix) == ("theirs", "us-east-1", "", "")
    assert target.access_key == "our-key"


def test_keys_of_a_request_never_go_with_a_token_of_the_server() -> None:
    target = storage(**SERVER).s3_target(S3Choice(bucket="theirs", access_key="a", secret_key="b"))
    assert (target.access_key, target.secret_key, target.session_token) == ("a", "b", "")


@pytest.mark.parametrize(
    "choice",
    [
        S3Choice(bucket="a/b"),
        S3Choice(bucket="theirs", endpoint="http://s3.example.com"),
        S3Choice(bucket="theirs", endpoint="nonsense"),
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
    choice = S3Choice(bucket="theirs", endpoint="http://s3.example.com")
    assert storage(S3_ALLOW_INSECURE_ENDPOINT="true").s3_target(choice).endpoint == "http://s3.example.com"


@pytest.mark.parametrize(
    "change",
    [
        {"S3_BUCKET": "a/b"},
        {"S3_ENDPOINT": "http://s3.example.com"},
        {"S3_PREFIX": "a//b"},
        {"AWS_SECRET_ACCESS_KEY": ""},
    ],
)
def test_settings_that_cannot_be_used_end_the_start(change: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="S3_BUCKET: "):
        storage(**{**SERVER, **change})


@pytest.mark.parametrize(
    ("name", "value"), [("S3_PREFLIGHT_TIMEOUT", "soon"), ("S3_ALLOW_INSECURE_ENDPOINT", "x")]
)
def test_a_setting_that_cannot_be_read_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Config.from_env({name: value})


async def test_no_check_is_made_when_it_is_switched_off() -> None:
    settings = S3Config(bucket="ours", preflight_timeout_s=0, request_preflight_timeout_s=0)

    def never(*args: object, **kwargs: object) -> Bucket:
        raise AssertionError("a check was made")

    checked = RecordingStorage(settings, make_bucket=never)
    await checked.check_server_bucket()
    await checked.check(checked.s3_target(S3Choice()), "name.wav")
