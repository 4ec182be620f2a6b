from __future__ import annotations

import subprocess
import sys

import vb


def test_the_public_names_are_these_four() -> None:
    assert sorted(vb.__all__) == ["Config", "Server", "VbError", "open_server"]
    for name in vb.__all__:
        assert getattr(vb, name).__module__.startswith("vb.")


def test_importing_the_package_loads_neither_numpy_nor_the_web_framework() -> None:
    code = "import sys, vb; sys.exit(any(name in sys.modules for name in ('numpy', 'quart', 'av')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
