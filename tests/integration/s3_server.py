"""A third party's S3 server as a process of its own, which checks signatures as Amazon does: moto."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from html import unescape
from urllib.parse import quote

import httpx
import trio
from botocore.auth import S3SigV4Auth  # type: ignore[import-untyped]  # it has no types
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]  # it has no types
from botocore.credentials import Credentials  # type: ignore[import-untyped]  # it has no types


@dataclass(frozen=True, slots=True)
class Store:
    """A running S3 server with one bucket, `recordings`; it checks every signature.

    Attributes:
        endpoint: its URL.
        access_key: the only one that it knows.
        secret_key: belongs to it.
    """

    endpoint: str
    access_key: str
    secret_key: str

    @property
    def settings(self) -> dict[str, str]:
        return {
            "S3_BUCKET": "recordings",
            "S3_ENDPOINT": self.endpoint,
            "S3_PREFIX": "calls/",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }

    @property
    def request(self) -> dict[str, str]:
        return {
            "s3_bucket": "recordings",
            "s3_endpoint": self.endpoint,
            "s3_prefix": "asked/",
            "s3_access_key": self.access_key,
            "s3_secret_key": self.secret_key,
        }

    async def get(self, url: str) -> httpx.Response:
        """The object behind an s3:// address, asked for with a signature that Amazon's own signer made."""
        assert url.startswith("s3://recordings/")
        address = f"{self.endpoint}/{quote(url.removeprefix('s3://'))}"
        request = AWSRequest("GET", address)
        S3SigV4Auth(Credentials(self.access_key, self.secret_key), "s3", "us-east-1").add_auth(request)
        async with httpx.AsyncClient() as client:
            return await client.get(address, headers=dict(request.headers.items()))


async def furnish(client: httpx.AsyncClient, endpoint: str) -> Store:
    """Make a user, who may do everything with S3 and Polly, and the bucket; then signatures are checked."""

    async def ask(service: str, method: str, path: str, **fields: str) -> str:
        headers = {
            "Authorization": f"AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/{service}/aws4_request"
        }
        reply = await client.request(method, endpoint + path, headers=headers, data=fields)
        assert reply.status_code == 200, reply.text
        return reply.text

    actions = ["s3:*", "polly:*"]
    policy = {
        "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}],
        "Version": "2012-10-17",
    }
    user = {"Version": "2010-05-08", "UserName": "recorder"}
    await ask("iam", "POST", "/", Action="CreateUser", **user)
    given = {"PolicyName": "s3", "PolicyDocument": json.dumps(policy)}
    await ask("iam", "POST", "/", Action="PutUserPolicy", **user, **given)
    made = await ask("iam", "POST", "/", Action="CreateAccessKey", **user)
    access_key, secret_key = (
        unescape(made.partition(f"<{name}>")[2].partition("<")[0])
        for name in ("AccessKeyId", "SecretAccessKey")
    )
    await ask("s3", "PUT", "/recordings")
    reply = await client.post(f"{endpoint}/moto-api/reset-auth", content=b"0")
    assert reply.status_code == 200, reply.text
    assert (await client.get(f"{endpoint}/recordings")).status_code >= 400
    return Store(endpoint, access_key, secret_key)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def open_s3_server() -> AsyncIterator[Store]:
    """Run the server on a port of loopback."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    run = partial(trio.run_process, command, capture_stdout=True, capture_stderr=True, check=False)
    async with trio.open_nursery() as nursery:
        process = await nursery.start(run)
        try:
            with trio.fail_after(30):
                store = await _ready(endpoint)
            yield store
        finally:
            process.kill()


async def _ready(endpoint: str) -> Store:
    async with httpx.AsyncClient() as client:
        while True:
            try:
                return await furnish(client, endpoint)
            except httpx.TransportError:
                await trio.sleep(0.1)
