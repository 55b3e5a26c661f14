# SPDX-License-Identifier: MIT
"""The verdict on whole documents: machines as Linux shows them, judged by all rules, with what their services did."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.advice.bios_rules import advise
from plugins.module_utils.advice.speed import CAUSE_OF
from plugins.module_utils.benchmark.results import quantity
from plugins.module_utils.memory.channels import describe
from plugins.module_utils.memory.smbios import read_table
from plugins.module_utils.report.document import build_report
from plugins.module_utils.tower import guest, l3_domains, read_tower
from tests.boards.board import BOARD
from tests.boards.machine import DEFAULTS, files, write

RULES = yaml.safe_load((Path(__file__).resolve().parents[3] / "catalog/bios.yml").read_text(encoding="utf-8"))
GIB = 2**30
SMALL = {"brand": "AMD EPYC 9124 16-Core Processor", "family": 25, "model": 17}
LARGE = {"brand": "AMD EPYC 9354 32-Core Processor", "family": 25, "model": 17}
TURIN = {"brand": "AMD EPYC 9355 32-Core Processor", "family": 26, "model": 2}
# 405 billion weights and a mixture of 357, in Q6_K.
DENSE: Any = {
    "name": "dense",
    "bytes": 332_900_000_000,
    "files": [],
    "gguf": {
        "active_bytes": 332_000_000_000,
        "block_count": 126,
        "parameters": 405_000_000_000,
        "quantization": "Q6_K",
    },
}
MIXTURE: Any = {
    "name": "mixture",
    "bytes": 292_700_000_000,
    "files": [],
    "gguf": {"active_bytes": 26_200_000_000, "block_count": 92, "parameters": 357_000_000_000}
    | {"expert_count": 160, "quantization": "Q6_K"},
}
GRID: Any = MIXTURE | {
    "bytes": 92_000_000_000,
    "gguf": MIXTURE["gguf"] | {"active_bytes": 8_200_000_000, "quantization": "IQ2_XXS"},
}


def board(cpu: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**DEFAULTS["board"], "cpu": {**BOARD["cpu"], **cpu}, **changes}


def tower(root: Path, **changes: Any) -> dict[str, Any]:
    """A machine as its files show it, with all advice on it; of 64 cores and all channels if nothing else is said."""
    own = changes.pop("files", {})
    whole = files({"board": board(LARGE), "cores": 32, "threads": 1} | changes)
    write(root, whole | own)
    found, system = read_tower(root), root / "sys"
    machine = read_table((system / "firmware/dmi/tables/DMI").read_bytes())
    channels = describe(machine, "dmi-table", l3_domains(system), guest=guest(system))
    advice = [entry for entry in advise(found, channels, RULES) if entry["visible"]]
    return {"tower": found, "memory_channels": channels, "advice": advice}


def service(speed: float, nodes: tuple[int, ...] = (150, 150), **changes: Any) -> dict[str, Any]:
    """What the check of a service found: tokens a second, GB on each memory node, and what differs of its memory."""
    held = {str(node): count * 10**9 for node, count in enumerate(nodes)}
    total = sum(held.values())
    threads = changes.pop("threads", None)
    placed: dict[str, Any] = {"bytes": total, "huge_bytes": total, "nodes": held, "swapped_bytes": 0}
    placed |= {"policies": {"interleave:0-1": total}} | changes
    answer = {"text": "Paris", "tokens_per_second": speed}
    server = {"instance": "main", "name": "main", "url": "http://127.0.0.1:8080", "threads": threads}
    return {
        "completion": answer,
        "placement": placed,
        "nodes": list(range(len(nodes))),
        "problem": None,
        "servers": [server | {"completion": answer, "placement": placed}],
    }


def run(started: str = "2026-01-21T04:00:00Z", model: str = "mixture", **medians: float) -> Any:
    results = {
        name: quantity([value], "GB/s" if name.startswith("read") else "tokens/s") for name, value in medians.items()
    }
    return {
        "started": started,
        "conditions": {"build": "k", "model": f"{model} 0123", "settings": {}},
        "results": results,
        "skipped": {},
    }


def report(parts: dict[str, Any], **more: Any) -> Any:
    whole: Any = {"build": {"key": "k"}, "model": MIXTURE, **parts, **more}
    return build_report(whole, "tower1", "2026-01-26T04:00:00Z")


EMPTY = {"empty": [f"DIMM_P0_{name}0" for name in "IJKL"] + [f"DIMM_P1_{name}0" for name in "UVWX"]}
SLOW = {"dimm": {**DEFAULTS["board"]["dimm"], "configured_mts": 3600}}
ONE = {"empty": ["DIMM_P1_R0"]}
PRESSURE = "some avg10=41.00 avg60=35.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0"
POWERSAVE = {"driver": "acpi-cpufreq", "governor": "powersave", "epp": None}
GUEST = {"flags": f"{DEFAULTS['flags']} hypervisor"}
SAMPLE = {"board": board(SMALL, **ONE), "cores": 16, "l3": 4}
HEAT = {f"sys/devices/system/cpu/cpu{number}/thermal_throttle/core_throttle_count": "7" for number in range(4)}
CAPPED = {
    "sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw": "180000000",
    "sys/class/powercap/intel-rapl:0/constraint_0_max_power_uw": "360000000",
}
WAITING = {"sys/fs/cgroup/llama.slice/cpu.pressure": PRESSURE}
TURIN_BOARD = board(TURIN, dimm={**DEFAULTS["board"]["dimm"], "configured_mts": 6000, "rated_mts": 6000})

# The reason of each situation: the machine, what its service did, and its model.
SITUATIONS: dict[str, tuple[Any, dict[str, Any], dict[str, Any], Any]] = {
    "healthy": (None, {}, service(12.0), MIXTURE),
    "one channel of dies that carry less": ("dies", SAMPLE, service(1.2), DENSE),
    "the same in a guest with caches of its host": ("dies", SAMPLE | GUEST | {"l3": 16}, service(1.2), DENSE),
    "the same in a guest of four cores": ("dies", SAMPLE | GUEST | {"cores": 2, "l3": 2}, service(1.2), DENSE),
    "a guest whose CPU is emulated": ("guest", SAMPLE | GUEST, service(0.026), DENSE),
    "a third of the channels empty": ("channels", {"board": board(LARGE, **EMPTY)}, service(9.0), MIXTURE),
    "DIMMs slower than they are made for": ("memory-speed", {"board": board(LARGE, **SLOW)}, service(10.0), MIXTURE),
    "links between sockets": ("distribute", {"board": TURIN_BOARD}, service(1.8), DENSE),
    "all on one node": ("placement", {}, service(6.0, (290, 10)), MIXTURE),
    "small pages": ("pages", {}, service(9.5, huge_bytes=0), MIXTURE),
    "eight threads": ("threads", {}, service(8.0, threads=8), MIXTURE),
    "swapped out": ("swap", {}, service(0.4, swapped_bytes=9 * 10**10), MIXTURE),
    "clocks that are not set for speed": ("governor", {"frequency": POWERSAVE}, service(6.5), MIXTURE),
    "heat": ("limit", {"files": HEAT}, service(6.5), MIXTURE),
    "half of the power": ("limit", {"files": CAPPED}, service(6.5), MIXTURE),
    "other work": ("load", {"files": WAITING}, service(7.2), MIXTURE),
    "arithmetic": ("arithmetic", SAMPLE | {"board": board(SMALL)}, service(13.0), GRID),
    "four nodes a socket": ("nodes", {"nodes": 4}, service(6.0, (40,) * 8), MIXTURE),
    "faster than forecast": (None, SAMPLE, service(2.1), DENSE),
    "nothing that shows": ("unexplained", {}, service(3.0), MIXTURE),
}

# The reasons of which a forecast that a report has tells what mending them brings, as it does of none in a guest.
FORECAST = ("channels", "dies", "distribute")


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of each situation."""
    found = {}
    for number, (name, (_reason, machine, served, model)) in enumerate(SITUATIONS.items()):
        root = tmp_path_factory.mktemp(f"tower{number}")
        found[name] = report(tower(root, **copy.deepcopy(machine)), service=served, model=model)
    return found


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_reason_is_the_most_costly_that_is_explained(documents: dict[str, Any], name: str) -> None:
    verdict = documents[name]["verdict"]
    print(verdict["sentence"], *documents[name]["advice"], sep="\n")
    assert (verdict["state"], verdict["reason"]) == ("measured", SITUATIONS[name][0])
    assert verdict["share"] == pytest.approx(min(1, verdict["measured"] / verdict["allowed"]))
    number = f"{100 * verdict['share']:.0f} % of what "
    assert number in verdict["sentence"]
    assert (", because " in verdict["sentence"]) == (verdict["reason"] not in (None, "unexplained"))


@pytest.mark.parametrize("name", SITUATIONS)
def test_advice_is_in_the_order_of_what_it_brings(documents: dict[str, Any], name: str) -> None:
    advice = documents[name]["advice"]
    gains = [entry["gain"] for entry in advice if entry["gain"]]
    assert gains == sorted(gains, reverse=True)
    if gains:
        assert advice[0]["gain"] == gains[0], "what brings something comes before what nobody has a figure of"
    assert [entry["severity"] for entry in advice if entry["gain"] == 0.0] == ["info"] * sum(
        entry["gain"] == 0.0 for entry in advice
    )
    assert all(entry["worth"] == "less than 2 % here" for entry in advice if entry["gain"] == 0.0)


def test_a_healthy_tower_has_most_of_what_its_memory_allows(documents: dict[str, Any]) -> None:
    verdict = documents["healthy"]["verdict"]
    assert 0.85 < verdict["share"] <= 1
    assert verdict["sentence"] == f"12.0 tokens/s: {100 * verdict['share']:.0f} % of what this tower's memory allows."


@pytest.mark.parametrize("name", [name for name in SITUATIONS if "of dies" in name or name.startswith("the same")])
def test_one_empty_channel_that_costs_nothing_comes_last_and_its_dies_first(
    documents: dict[str, Any], name: str
) -> None:
    advice = documents[name]["advice"]
    (empty,) = [entry for entry in advice if entry["code"] == "empty-channel"]
    assert (advice[0]["code"], empty["worth"]) == ("ccd-links", "less than 2 % here")
    assert all(entry["gain"] == 0.0 for entry in advice[advice.index(empty) :])


@pytest.mark.parametrize(
    "name", [name for name in SITUATIONS if SITUATIONS[name][0] in FORECAST and " guest" not in name]
)
def test_what_advice_brings_is_what_the_forecast_says(documents: dict[str, Any], name: str) -> None:
    document, reason = documents[name], SITUATIONS[name][0]
    changes = {change["code"]: change["gain"] for change in document["forecast"]["sensitivity"]}
    (entry,) = [entry for entry in document["advice"] if CAUSE_OF.get(entry["code"], entry["code"]) == reason]
    print(changes, entry)
    assert document["advice"][0] == entry
    assert entry["gain"] == pytest.approx(document["verdict"]["measured"] * changes[reason])


def test_one_act_is_told_once(documents: dict[str, Any], tmp_path: Path) -> None:
    """An empty channel makes its sockets unequal, and two sockets with empty channels wait for each other."""
    codes = [entry["code"] for entry in documents["a third of the channels empty"]["advice"]]
    assert codes.count("empty-channel") == 1
    odd = tower(tmp_path, board=board(LARGE, empty=EMPTY["empty"][:4]))
    assert {"empty-channel", "unbalanced-sockets"} <= {entry["code"] for entry in odd["advice"]}
    (entry,) = [entry for entry in report(odd, service=service(9.0))["advice"] if entry["gb_s"]]
    assert entry["code"] == "empty-channel" and "The sockets have 8 and 12 channels in use" in entry["message"]
    assert entry["gain"] and "+" in entry["worth"]


def test_a_tower_that_does_not_serve_says_so_and_what_is_forecast(tmp_path: Path) -> None:
    verdict = report(tower(tmp_path, **SAMPLE), model=DENSE)["verdict"]
    assert (verdict["state"], verdict["reason"], verdict["measured"]) == ("down", "dies", None)
    assert verdict["sentence"].startswith("There is no service on this tower yet. 0.9")
    assert "tokens/s are forecast: " in verdict["sentence"]


def test_memory_in_the_wrong_place_is_one_problem_with_its_figure(tmp_path: Path) -> None:
    wrong = service(6.0, (290, 10)) | {"problem": "The weights are not spread evenly."}
    document = report(tower(tmp_path), service=wrong)
    assert (document["advice"][0]["code"], document["advice"][0]["command"]) == ("service-problem", True)
    assert document["advice"][0]["gain"] > 1
    assert "placement" not in [entry["code"] for entry in document["advice"]]
    assert document["verdict"]["state"] == "measured"


def test_a_regression_has_its_figure(tmp_path: Path) -> None:
    runs = [run(service_steady=12.4), run("2026-01-26T04:00:00Z", service_steady=11.0)]
    document = report(tower(tmp_path), service=service(11.0), benchmarks=runs)
    verdict = document["verdict"]
    assert verdict["loss"] == pytest.approx(1 - 11.0 / 12.4)
    assert verdict["sentence"].endswith("Service, further answers: 11 % less than on 2026-01-21 04:00.")
    (entry,) = [entry for entry in document["advice"] if entry["code"] == "slower"]
    assert entry["gain"] == pytest.approx(1.4)
    assert "12.4 to 11.0 tokens/s, -11 %" in entry["message"]


@pytest.mark.parametrize(
    ("read", "said"), [(300.0, "the memory itself is slow"), (750.0, "it is not the memory itself")]
)
def test_what_is_not_explained_is_held_against_the_reachable_bandwidth(read: float, said: str, tmp_path: Path) -> None:
    document = report(tower(tmp_path), service=service(3.0), benchmarks=[run(read_whole=read)])
    assert document["advice"][0]["code"] == "unexplained"
    assert said in document["advice"][0]["message"]


def test_a_measured_read_within_reach_is_what_the_machine_can(tmp_path: Path) -> None:
    parts = tower(tmp_path)
    slow, fast = (report(parts, service=service(12.0), benchmarks=[run(read_whole=each)]) for each in (700.0, 820.0))
    assert slow["verdict"]["expected"] < fast["verdict"]["expected"]


@pytest.mark.parametrize(("changes", "told"), [({}, True), (GUEST | {"cores": 1}, False)], ids=["tower", "guest"])
def test_more_threads_are_advised_where_there_are_cpus_for_them(
    tmp_path: Path, changes: dict[str, Any], told: bool
) -> None:
    parts = tower(tmp_path, **SAMPLE | changes)
    advice = report(parts, service=service(1.0, threads=2), model=DENSE)["advice"]
    assert ("threads" in [entry["code"] for entry in advice]) == told, advice


def test_a_guest_whose_memory_is_not_known_has_a_speed_and_no_share() -> None:
    parts = {"tower": {"hypervisor": True, "cpu": {"model": "QEMU Virtual CPU"}}, "memory_channels": None}
    verdict = report(parts, service=service(2.1))["verdict"]
    assert (verdict["state"], verdict["reason"], verdict["share"]) == ("unknown", "guest", None)
    assert verdict["sentence"].startswith("2.10 tokens/s, and what the memory allows is not known.")
