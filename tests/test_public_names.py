from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import vb


def test_the_public_names_are_these_four() -> None:
    assert sorted(vb.__all__) == ["Config", "Server", "VbError", "open_server"]
    for name in vb.__all__:
        assert getattr(vb, name).__module__.startswith("vb.")


def test_importing_the_package_loads_neither_numpy_nor_the_web_framework() -> None:
    code = "import sys, vb; sys.exit(any(name in sys.modules for name in ('numpy', 'quart', 'av')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_public_names_are_listed_before_their_first_use() -> None:
    code = "import sys, vb; sys.exit(not {*vb.__all__} <= {*dir(vb)})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_checker_takes_no_other_name_for_one_of_the_package(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    package = tmp_path / "vb" / "__init__.py"
    package.parent.mkdir()
    package.write_text(Path(vb.__file__).read_text())
    program = tmp_path / "program.py"
    program.write_text("import vb\nvb.open_server\nvb.opn_server\n")
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--follow-imports=skip", "--config-file=", str(package), str(program)],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    errors = [line.partition(" error: ")[0] for line in found.stdout.splitlines() if "program.py" in line]
    assert errors == ["program.py:3:"]


def test_a_program_without_docstrings_has_all_commands_and_events() -> None:
    code = (
        "from vb.commands.catalog import REGISTRY; from vb.events.catalog import all_events; "
        "print(REGISTRY['get_leg'].summary, len(all_events()) > 0)"
    )
    shown = subprocess.run([sys.executable, "-OO", "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout == "get_leg True\n"
