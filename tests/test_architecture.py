"""The page on architecture says what `.importlinter` enforces."""

from __future__ import annotations

import re
from configparser import ConfigParser
from itertools import pairwise
from pathlib import Path

import vb

ROOT = Path(vb.__path__[0]).parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
EDGE = {"api", "demo"}
"""Who may know the web framework; the demo is a client of the WebSockets."""


def contract(name: str) -> dict[str, list[str]]:
    parser = ConfigParser()
    parser.read(ROOT / ".importlinter", encoding="utf-8")
    return {key: value.split("\n") for key, value in parser[f"importlinter:contract:{name}"].items()}


def layers() -> dict[str, int]:
    """Every module or package of vb, and how far down it stands."""
    lines = filter(None, contract("layers")["layers"])
    return {name.strip(): depth for depth, line in enumerate(lines) for name in line.split("|")}


def named(text: str) -> list[str]:
    return re.findall(r"`vb/(\w+)(?:/|\.py)`", text)


def test_the_table_of_folders_goes_down_the_layers_and_leaves_nothing_out() -> None:
    depths = layers()
    rows = [named(line.split("|")[1]) for line in PAGE.splitlines() if line.startswith("| `vb/")]
    assert sorted(name for row in rows for name in row) == sorted(depths)
    for upper, lower in pairwise(rows):
        assert max(depths[name] for name in upper) <= min(depths[name] for name in lower), (upper, lower)


def test_the_page_names_the_cores() -> None:
    cores = [module.removeprefix("vb.") for module in filter(None, contract("cores")["source_modules"])]
    sentence = PAGE[PAGE.index("It also refuses Trio") :].partition(";")[0]
    assert sorted(named(sentence)) == sorted(cores)


def test_the_web_framework_is_forbidden_to_all_but_the_edge() -> None:
    kept_out = {module.removeprefix("vb.") for module in filter(None, contract("web")["source_modules"])}
    assert layers().keys() - kept_out == EDGE
