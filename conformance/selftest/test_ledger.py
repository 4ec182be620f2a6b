"""The ledger's rules, and the names of the server's interface."""

from collections import Counter
from pathlib import Path

from conformance.field_ledger import named as fields_named
from conformance.field_ledger import read_fields
from conformance.ledger import Surface, check_names, check_run, read_ledger
from conformance.registry import Scenario, load_all
from conformance.runner import Outcome
from conformance.surface import messages_of, operation, operations_of, settings_of
from conformance.world import World


async def _nothing(world: World) -> None:
    del world


CALLS = Scenario("calls", "what", _nothing, env={"SIP_PORT": "0"})
SCENARIOS = {"calls": CALLS}
SURFACE = Surface(
    frozenset({"GET /v1/legs"}), frozenset({"stop"}), frozenset({"leg.hold"}), frozenset({"SIP_PORT"})
)
GOOD = {
    "operations": {"GET /v1/legs": ["calls"]},
    "commands": {"stop": ["calls"]},
    "events": {"leg.hold": ["calls"]},
    "settings": {"SIP_PORT": ["calls"]},
    "reliability": {"S1": ["code.py::test_it_all"]},
}


def _root(tmp_path: Path) -> Path:
    (tmp_path / "code.py").write_text(
        'S14, S2, S9 = "S14 one", "S2 other", "S9 unused"\n\n'
        'def test_it_all():\n    """test_x"""\n    return S14, S2\n'
    )
    return tmp_path


def test_a_whole_ledger_has_no_problem(tmp_path: Path) -> None:
    assert check_names(GOOD, SCENARIOS, SURFACE, _root(tmp_path)) == []


def test_what_the_server_has_and_the_ledger_has_not_is_told(tmp_path: Path) -> None:
    problems = check_names({**GOOD, "events": {}}, SCENARIOS, SURFACE, _root(tmp_path))
    assert problems == ["[events] has no leg.hold"]


def test_what_the_server_has_no_longer_is_told(tmp_path: Path) -> None:
    events = {"leg.hold": ["calls"], "leg.gone": ["calls"]}
    problems = check_names({**GOOD, "events": events}, SCENARIOS, SURFACE, _root(tmp_path))
    assert problems == ["[events] leg.gone: the server has none"]


def test_an_entry_without_a_scenario_is_told(tmp_path: Path) -> None:
    problems = check_names({**GOOD, "commands": {"stop": []}}, SCENARIOS, SURFACE, _root(tmp_path))
    assert problems == ["[commands] stop: no scenario"]


def test_a_scenario_that_is_nowhere_is_told(tmp_path: Path) -> None:
    more = {**SCENARIOS, "lost": Scenario("lost", "what", _nothing)}
    assert check_names(GOOD, more, SURFACE, _root(tmp_path)) == ["lost is in no entry"]


def test_a_reference_to_nothing_is_told(tmp_path: Path) -> None:
    for reference in ("nobody", "code.py::test_other", "code.py::test_x", "gone.py::test_it"):
        ledger = {**GOOD, "reliability": {"S1": [reference]}}
        assert check_names(ledger, SCENARIOS, SURFACE, _root(tmp_path)) == [
            f"[reliability] S1: there is no {reference}"
        ]


def test_a_setting_that_its_scenario_does_not_set_is_told(tmp_path: Path) -> None:
    plain = {"calls": Scenario("calls", "what", _nothing)}
    surface = Surface(SURFACE.operations, SURFACE.commands, SURFACE.events, frozenset({"VB_" + "ODD"}))
    ledger = {**GOOD, "settings": {"VB_" + "ODD": ["calls"]}}
    problems = check_names(ledger, plain, surface, _root(tmp_path))
    assert problems == ["[settings] VB_" + "ODD: calls does not set it"]


def test_a_reference_names_a_function_or_constant_from_end_to_end(tmp_path: Path) -> None:
    for reference in ("code.py::test_it", "code.py::S1", "code.py::one", "code.py::S9"):
        ledger = {**GOOD, "reliability": {"S1": [reference]}}
        assert check_names(ledger, SCENARIOS, SURFACE, _root(tmp_path)) == [
            f"[reliability] S1: there is no {reference}"
        ]
    for reference in ("code.py::test_it_all", "code.py::S14", "code.py::S2"):
        ledger = {**GOOD, "reliability": {"S1": [reference]}}
        assert check_names(ledger, SCENARIOS, SURFACE, _root(tmp_path)) == []


ODD_SETTINGS = {"VB_IN_A_TABLE": "1"}


def _settings_of_helper() -> dict[str, str]:
    return {"VB_OF_A_HELPER": "1"}


async def _starts_some(world: World) -> None:
    async with world.server({**ODD_SETTINGS, **_settings_of_helper(), "VB_OF_ITS_OWN": "1"}):
        pass


async def _starts_none(world: World) -> None:
    """Its module names "VB_OF_ITS_OWN", and so does this, but it sets nothing."""
    del world


def test_a_setting_is_set_by_the_scenario_or_its_helpers_not_by_its_module(tmp_path: Path) -> None:
    names = ("VB_IN_A_TABLE", "VB_OF_A_HELPER", "VB_OF_ITS_OWN")
    surface = Surface(SURFACE.operations, SURFACE.commands, SURFACE.events, frozenset(names))
    ledger = {**GOOD, "settings": {name: ["calls"] for name in names}}
    sets = {"calls": Scenario("calls", "what", _starts_some)}
    assert check_names(ledger, sets, surface, _root(tmp_path)) == []
    sets_not = {"calls": Scenario("calls", "what", _starts_none)}
    assert check_names(ledger, sets_not, surface, _root(tmp_path)) == [
        f"[settings] {name}: calls does not set it" for name in names
    ]


def test_settings_are_free_where_the_server_does_not_tell_them(tmp_path: Path) -> None:
    surface = Surface(SURFACE.operations, SURFACE.commands, SURFACE.events, None)
    assert check_names(GOOD, SCENARIOS, surface, _root(tmp_path)) == []


def test_a_run_that_does_not_bear_an_entry_out_is_told() -> None:
    outcome = Outcome("calls", "what", 1.0, used=("GET /v1/legs", "stop"))
    assert check_run(GOOD, [outcome]) == ["[events] leg.hold: calls does not touch it"]


def test_a_failed_scenario_is_not_held_against_the_ledger() -> None:
    assert check_run(GOOD, [Outcome("calls", "what", 1.0, where="here")]) == []


def test_reliability_cases_are_all_there() -> None:
    cases = [*(f"Q{n}" for n in range(1, 5)), *(f"S{n}" for n in range(1, 36))]
    assert sorted(name.split(" ")[0] for name in read_ledger()["reliability"]) == sorted(cases)


def test_behaviours_are_all_there() -> None:
    groups = Counter(name.partition(":")[0] for name in read_ledger()["behaviour"])
    assert groups == {
        "calls": 17,
        "early media": 3,
        "SDP": 11,
        "hold": 9,
        "transfer": 4,
        "digits and text": 8,
        "rooms": 15,
        "bridges": 4,
        "playback": 5,
        "answering machines": 5,
        "recording": 8,
        "WebSocket legs": 3,
        "MoQ legs": 1,
        "VSI and webhooks": 10,
        "server": 5,
        "SRTP": 5,
        "speech": 5,
        "webrtc": 10,
        "WhatsApp": 4,
        "agents": 10,
        "transcripts": 6,
    }


def test_a_behaviour_that_nothing_shows_is_told(tmp_path: Path) -> None:
    behaviour = {"1 one": ["calls"], "1 two": [], "1 three": ["code.py::test_gone"]}
    assert check_names({**GOOD, "behaviour": behaviour}, SCENARIOS, SURFACE, _root(tmp_path)) == [
        "[behaviour] 1 two: no scenario",
        "[behaviour] 1 three: there is no code.py::test_gone",
    ]


def test_every_scenario_is_in_the_ledger() -> None:
    ledger = read_ledger()
    named = {reference for entries in ledger.values() for refs in entries.values() for reference in refs}
    assert set(load_all()) <= named | fields_named(read_fields())


def test_requests_are_named_by_their_template() -> None:
    assert operation("GET", "/v1/legs?x=1") == "GET /v1/legs"
    assert operation("GET", "/v1/legs/websocket?rtt=true") == "GET /v1/legs/websocket"
    assert operation("DELETE", "/v1/rooms/a/legs/b") == "DELETE /v1/rooms/{id}/legs/{legID}"
    assert operation("PATCH", "/v1/legs/a/play/pb-1") == "PATCH /v1/legs/{id}/play/{playbackID}"
    assert operation("GET", "/v1/rooms/a/bridges/b") == "GET /v1/rooms/{id}/bridges/{bridgeID}"
    assert operation("GET", "/v1/rooms/a/bridges") == "GET /v1/rooms/{id}/bridges"
    assert operation("POST", "/v1/legs/a/record/pause") == "POST /v1/legs/{id}/record/pause"


def test_the_documents_are_read() -> None:
    paths: dict[str, object] = {"/v1/legs": {"get": {}, "post": {}, "parameters": []}}
    assert operations_of({"paths": paths}) == {"GET /v1/legs", "POST /v1/legs"}
    names = ["stop", "get_leg", "get_leg.result", "amd.result", "leg.hold", "connected", "error"]
    assert messages_of({"components": {"messages": dict.fromkeys(names)}}) == (
        {"stop", "get_leg"},
        {"amd.result", "leg.hold"},
    )
    text = "options:\n  -h, --help  show\n\nsettings:\n  SIP_PORT   a port [5060]\n  VB_X1      what\n"
    assert settings_of(text) == {"SIP_PORT", "VB_X1"}
