import pytest

from vb.storage.endpoint import Endpoint, check_endpoint, parse_endpoint


@pytest.mark.parametrize(
    "url",
    [
        "https://s3.example.com",
        "https://s3.example.com:9000/base",
        "http://localhost:9000",
        "http://minio:9000",
        "http://127.0.0.1:9000",
        "http://[::1]:9000",
        "http://10.1.2.3",
        "http://192.168.0.9:9000",
        "http://[fd00::1]",
    ],
)
def test_https_anywhere_and_http_nearby_are_taken(url: str) -> None:
    assert check_endpoint(url, allow_insecure=False) == url


@pytest.mark.parametrize(
    "url", ["http://s3.example.com", "http://93.184.215.14", "http://[2606:2800:21f::1]"]
)
def test_http_on_a_public_host_needs_permission(url: str) -> None:
    with pytest.raises(ValueError, match="must use https"):
        check_endpoint(url, allow_insecure=False)
    assert check_endpoint(url, allow_insecure=True) == url


@pytest.mark.parametrize(
    "url",
    [
        "", "minio", "minio:9000", "ftp://minio", "http://", "https://x y", "http://a:99999", "http://[::1",
        "https://user:secret@host", "https://host?x=1", "https://host#x", "https://ho\nst", "https://a:0",
        "https://höst", "https://host/a b", "https://host/a%2fb", "https://[::1%25eth0]",
    ],
)  # fmt: skip
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must"):
        check_endpoint(url, allow_insecure=True)


@pytest.mark.parametrize(
    ("url", "spelled"),
    [
        ("https://s3.example.com/", "https://s3.example.com"),
        ("HTTPS://S3.Example.com:443/base/", "https://s3.example.com/base"),
        ("http://LOCALHOST:80", "http://localhost"),
        ("https://[2001:DB8:0::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
def test_each_endpoint_has_one_spelling(url: str, spelled: str) -> None:
    assert check_endpoint(url, allow_insecure=False) == spelled


def test_an_endpoint_is_taken_apart() -> None:
    endpoint = parse_endpoint("https://[::1]:9000/base/")
    assert endpoint == Endpoint("https", "::1", 9000, "/base")
    assert endpoint.authority == "[::1]:9000"
