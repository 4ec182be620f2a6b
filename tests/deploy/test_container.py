"""What the Containerfile takes for granted."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

from vb.cli import build_parser
from vb.config import settings_table

ROOT = Path(__file__).parents[2]


class Instruction(NamedTuple):
    word: str
    rest: str


def read_instructions() -> list[Instruction]:
    text = (ROOT / "deploy" / "Containerfile").read_text(encoding="utf-8")
    code = "\n".join(line for line in text.splitlines() if line and not line.startswith("#"))
    lines = code.replace("\\\n", " ").splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in lines]


INSTRUCTIONS = read_instructions()


def every(word: str) -> list[str]:
    return [one.rest for one in INSTRUCTIONS if one.word == word]


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for rest in every("ENV") for pair in rest.split())


def project() -> dict[str, object]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        table: dict[str, object] = tomllib.load(file)["project"]
    return table


def test_everything_that_is_copied_exists() -> None:
    sources = [
        source for rest in every("COPY") if not rest.startswith("--from") for source in rest.split()[:-1]
    ]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_what_the_package_is_built_from_is_copied() -> None:
    table = project()
    licences = table["license-files"]
    assert isinstance(licences, list)
    copied = {source for rest in every("COPY") for source in rest.split()[:-1]}
    assert {"pyproject.toml", "vb", table["readme"], *licences} <= copied


def test_dependencies_come_from_the_lock_with_hashes_and_as_wheels() -> None:
    installs = [rest for rest in every("RUN") if " install " in rest and "pip" in rest]
    (dependencies,) = (rest for rest in installs if "requirements/serve.txt" in rest)
    assert {"--no-deps", "--require-hashes", "--only-binary"} <= set(dependencies.split())
    (package,) = (rest for rest in installs if rest != dependencies)
    assert {"--no-deps", "--no-build-isolation", "--no-index"} <= set(package.split())


def test_both_stages_have_one_base_with_a_python_that_the_package_supports() -> None:
    bases = {rest.split()[0] for rest in every("FROM")}
    assert len(bases) == 1
    found = re.search(r"python:(\d+)\.(\d+)-", bases.pop())
    assert found is not None
    least = re.fullmatch(r">=(\d+)\.(\d+)", str(project()["requires-python"]))
    assert least is not None
    assert tuple(map(int, found.groups())) >= tuple(map(int, least.groups()))


def test_what_it_sets_are_settings() -> None:
    assert set(environment()) - {"PATH"} <= {row.name for row in settings_table()}


def test_what_the_server_writes_lies_on_volumes() -> None:
    volumes = {volume for rest in every("VOLUME") for volume in json.loads(rest)}
    settings = environment()
    assert volumes == {settings["RECORDING_DIR"], settings["VB_SPOOL_DIR"], settings["VB_DATA_DIR"]}
    assert any(set(rest.split()) >= volumes and "--owner vb" in rest for rest in every("RUN"))


def test_it_runs_as_nobody_that_has_rights() -> None:
    (user,) = every("USER")
    number = user.partition(":")[0]
    assert int(number) > 0
    assert any(f"useradd --uid {number} " in rest for rest in every("RUN"))
    order = [one.word for one in INSTRUCTIONS]
    assert "RUN" not in order[order.index("USER") :]


def test_the_command_is_one_of_ours() -> None:
    (entry,) = every("ENTRYPOINT")
    scripts = project()["scripts"]
    assert isinstance(scripts, dict)
    assert json.loads(entry)[0] in scripts
    (arguments,) = every("CMD")
    assert build_parser().parse_args(json.loads(arguments)).command == "serve"


def test_the_health_check_is_a_file_that_was_copied() -> None:
    (check,) = every("HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert command[-1] in {rest.split()[-1] for rest in every("COPY")}


def test_it_is_stopped_by_the_signal_that_the_server_knows() -> None:
    assert every("STOPSIGNAL") == ["SIGTERM"]
