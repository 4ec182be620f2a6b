"""The pages of the server: what is served, by which rules, and that they are whole."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from importlib.resources import files

import pytest

from tests.api.harness import ask
from vb.api.access import TOKEN_PROTOCOL, Access
from vb.api.app import Application
from vb.api.pages import ROUTES

HTML = [path for path, (name, _) in ROUTES.items() if name.endswith(".html")]
SCRIPTS = [path for path, (name, _) in ROUTES.items() if name.endswith(".js")]


def text_of(path: str) -> str:
    return files("vb.api").joinpath(*ROUTES[path][0].split("/")).read_text("utf-8")


class Reader(HTMLParser):
    """What a page loads, links to, and lets people use."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.loaded: set[str] = set()
        self.links: set[str] = set()
        self.labelled: set[str] = set()
        self.fields: list[dict[str, str | None]] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.inline += [name for name in values if name.startswith("on") or name == "style"]
        if tag in ("script", "link"):
            self.loaded.add(values.get("src") or values.get("href") or "inline")
        if tag == "a":
            self.links.add(values.get("href") or "")
        if tag == "label":
            self.labelled.add(values.get("for") or "")
        if tag in ("input", "select", "meter"):
            self.fields.append(values)
        if values.get("id"):
            self.ids.add(values["id"] or "")


@pytest.mark.parametrize("path", ROUTES)
async def test_every_file_of_a_page_is_served_under_its_policy(app: Application, path: str) -> None:
    reply = await ask(app, "GET", path)
    assert reply.status == 200
    assert reply.headers["content-type"] == ROUTES[path][1]
    assert reply.body == text_of(path).encode()
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "microphone=(self)" in reply.headers["permissions-policy"]
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize("path", HTML)
def test_a_page_loads_only_what_this_server_has(path: str) -> None:
    page = Reader(text_of(path))
    assert {target for target in page.loaded if target != "data:,"} <= ROUTES.keys()
    assert page.inline == []
    assert "<style" not in text_of(path)


@pytest.mark.parametrize("path", SCRIPTS)
def test_a_script_imports_only_what_this_server_has(path: str) -> None:
    assert set(re.findall(r'^import .* from "([^"]+)";', text_of(path), re.MULTILINE)) <= ROUTES.keys()
    assert "innerHTML" not in text_of(path)


@pytest.mark.parametrize("path", HTML)
def test_everything_that_can_be_filled_in_has_a_label(path: str) -> None:
    page = Reader(text_of(path))
    assert {field["id"] for field in page.fields} <= page.labelled


@pytest.mark.parametrize("path", ["/phone", "/moq"])
def test_every_element_that_a_phone_looks_for_is_there(path: str) -> None:
    wanted = set(re.findall(r'\$\("([^"]+)"\)', text_of(f"{path}/main.js")))
    assert wanted
    assert wanted <= Reader(text_of(path)).ids


@pytest.mark.parametrize("path", ["/phone", "/moq"])
@pytest.mark.parametrize(
    ("room", "taken"),
    [
        ("lobby", True),
        ("a.b-c_9", True),
        ("...", True),
        (".", False),  # a browser takes these out of every path
        ("..", False),
        ("a b", False),
        ("a/b", False),
    ],
)
def test_a_phone_takes_only_rooms_that_a_path_can_name(path: str, room: str, taken: bool) -> None:
    (pattern,) = (field["pattern"] for field in Reader(text_of(path)).fields if field["id"] == "room")
    assert (re.fullmatch(pattern or "", room) is not None) == taken


def test_the_first_page_leads_everywhere() -> None:
    assert Reader(text_of("/")).links >= {
        "/phone", "/moq", "/calls", "/docs", "/openapi.json", "/asyncapi.json", "/healthz", "/readyz",
        "/metrics",
    }  # fmt: skip


def test_all_files_of_the_folders_are_served() -> None:
    folders = {name.split("/")[0] for name, _ in ROUTES.values()}
    found = {
        f"{folder}/{item.name}" for folder in folders for item in files("vb.api").joinpath(folder).iterdir()
    }
    assert {name for name, _ in ROUTES.values()} == found


@pytest.mark.parametrize("path", ROUTES)
def test_pages_need_no_token(path: str) -> None:
    assert Access((), trust_proxy_headers=False, tokens=["one"]).refuse(path, "192.0.2.1", []) is None


@pytest.mark.parametrize(
    ("offered", "status"),
    [
        (b"vb, vb.token." + base64.urlsafe_b64encode("ä?>one".encode()).rstrip(b"="), None),
        (b"vb,vb.token." + base64.urlsafe_b64encode("ä?>one".encode()), None),
        (b"vb.token.d3Jvbmc", 401),
        (b"vb.token.%%%", 401),
        (b"vb.token.", 401),
        (b"vb", 401),
    ],
)
def test_a_token_may_be_a_subprotocol_of_a_websocket(offered: bytes, status: int | None) -> None:
    rules = Access((), trust_proxy_headers=False, tokens=["ä?>one"])
    headers = [(b"host", b"pbx.example"), (b"sec-websocket-protocol", offered)]
    refusal = rules.refuse("/v1/vsi", "192.0.2.1", headers, upgrade=True)
    assert (refusal.status if refusal else None) == status
    assert rules.refuse("/v1/legs", "192.0.2.1", headers) is not None


def test_a_wrong_token_in_a_subprotocol_counts_as_a_guess() -> None:
    rules = Access((), trust_proxy_headers=False, tokens=["one"])
    headers = [(b"sec-websocket-protocol", TOKEN_PROTOCOL.encode() + b"d3Jvbmc")]
    refusal = rules.refuse("/v1/vsi", "192.0.2.1", headers, upgrade=True)
    assert refusal is not None
    assert refusal.guessed_by == "192.0.2.1"
