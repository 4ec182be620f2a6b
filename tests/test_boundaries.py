"""Broad excepts and locks are few, and the page on errors names each."""

from __future__ import annotations

import re
from pathlib import Path

import vb

ROOT = Path(vb.__path__[0]).parent
PAGE = (ROOT / "docs" / "discussion" / "errors.md").read_text(encoding="utf-8")


def modules_with(pattern: str) -> set[str]:
    """Return the modules in which a line has this."""
    found = re.compile(pattern, re.MULTILINE)
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / "vb").rglob("*.py")
        if found.search(path.read_text(encoding="utf-8"))
    }


def test_the_page_on_errors_names_each_module_that_contains_faults() -> None:
    modules = modules_with(r"except Exception\b")
    assert modules
    assert sorted(module for module in modules if f"`{module}`" not in PAGE) == []


def test_what_catches_everything_raises_again() -> None:
    for module in modules_with(r"except BaseException\b"):
        text = (ROOT / module).read_text(encoding="utf-8")
        for handler in re.finditer(r"^( *)except BaseException\b.*\n((?:\1 +.*\n|\n)*)", text, re.MULTILINE):
            assert re.search(r"^ +raise$", handler[2], re.MULTILINE), module


def test_the_page_on_errors_names_each_lock() -> None:
    modules = modules_with(r"\b(?:threading|trio)\.R?Lock\(\)")
    assert sorted(module for module in modules if f"`{module}`" not in PAGE) == []
    assert len(modules) == 5
