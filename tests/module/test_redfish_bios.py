# SPDX-License-Identifier: MIT
"""BIOS settings over Redfish: what a BMC of each vendor is sent."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.bios.connection import RedfishError
from plugins.module_utils.bios.plan import bios_plan
from plugins.module_utils.bios.redfish import Redfish
from plugins.module_utils.bios.settings import attributes
from tests.bmc.bmc import PASSWORD, USER, VENDORS, Bmc
from tests.run_module import run_module

REPO = Path(__file__).resolve().parents[2]
SPELLINGS: dict[str, Any] = yaml.safe_load((REPO / "catalog/bios.yml").read_text())["settings"]
WANTED = {"nodes_per_socket": 1, "l3_as_numa": False}
# What that is on each vendor's board, and what the board has.
CHANGES: dict[str, dict[str, Any]] = {
    "dell": {"NumaNodesPerSocket": "1", "CcxAsNumaDomain": "Disabled"},
    "hpe": {"NumaMemoryDomainsPerSocket": "OneMemoryDomainPerSocket", "LastLevelCacheAsNUMANode": "Disabled"},
    "lenovo": {"Memory_NUMANodesperSocket": "NPS1", "Processors_ACPISRATL3CacheasNUMADomain": "Disabled"},
    "supermicro": {"NUMANodesPerSocket_703E": "NPS1", "ACPISRATL3CacheAsNUMADomain_0099": "Disabled"},
    "ami": {"Rome0075": "NPS1", "Rome0080": "Disabled"},
    "crb": {"CbsDfCmnDramNps": "CbsDfCmnDramNpsNPS1", "CbsDfCmnAcpiSratL3Numa": "CbsDfCmnAcpiSratL3NumaDisabled"},
}


@pytest.fixture(params=sorted(VENDORS))
def bmc(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bmc]:
    one = Bmc(request.param, tmp_path, reset_seconds=0.2)
    yield one
    one.close()


@pytest.fixture
def dell(tmp_path: Path) -> Iterator[Bmc]:
    one = Bmc("dell", tmp_path, reset_seconds=0.2)
    yield one
    one.close()


def given(bmc: Bmc) -> dict[str, Any]:
    return {
        "host": bmc.host,
        "username": USER,
        "password": PASSWORD,
        "ca_path": str(bmc.ca),
        "record": str(bmc.ca.parent / "record.json"),
        "spellings": SPELLINGS,
        "settings": WANTED,
        "boot": "boot-1",
        "timeout": 10,
        "wait": 5,
    }


def run(bmc: Bmc, check: bool = False, **arguments: Any) -> dict[str, Any]:
    """What the module returns, which never has the password."""
    returned = run_module("redfish_bios", check=check, **given(bmc) | arguments)
    assert PASSWORD not in json.dumps(returned)
    return returned


# --- A BMC of each vendor ------------------------------------------------------------------------------


def test_the_whole_way_there_and_back(bmc: Bmc) -> None:
    old = dict(bmc.current)
    planned = run(bmc)
    assert planned["plan"]["changes"] == CHANGES[bmc.vendor], planned
    assert (planned["changed"], bmc.writes) == (False, []), "planning writes nothing"

    checked = run(bmc, check=True, state="applied")
    assert (checked["changed"], bmc.writes) == (True, []), "check mode writes nothing"
    assert not (bmc.ca.parent / "record.json").exists()

    applied = run(bmc, state="applied")
    assert applied["changed"] is True, applied
    assert applied["diff"] == checked["diff"], "check mode predicts the difference"
    assert [body["Attributes"] for body in bmc.writes] == [CHANGES[bmc.vendor]], "one write of only the difference"
    assert bmc.current == old

    again = run(bmc, state="applied")
    assert (again["changed"], len(bmc.writes)) == (False, 1), "nothing more before the reset"
    assert [entry["state"] for entry in again["plan"]["settings"]] == ["pending", "pending"]

    assert run(bmc, state="reset")["changed"] is True
    assert bmc.current == old | CHANGES[bmc.vendor]

    second = run(bmc, state="applied", boot="boot-2")
    assert (second["changed"], len(bmc.writes)) == (False, 1)
    assert run(bmc, state="reset", boot="boot-2")["changed"] is False, "nothing pending, no reset"

    assert run(bmc, state="applied", restored=True, boot="boot-2")["changed"] is True
    assert run(bmc, state="reset", restored=True, boot="boot-2")["changed"] is True
    assert bmc.current == old


def test_values_are_found_by_what_is_displayed(bmc: Bmc) -> None:
    with Redfish(bmc.host, USER, PASSWORD, str(bmc.ca)) as session:
        found = session.bios()
    known = {attribute.name for attribute in attributes(found.bios.body, found.registry)}
    assert known == set(bmc.current)
    planned = bios_plan(found.bios.body, None, found.registry, {"smt": False}, SPELLINGS)
    assert planned["problems"] == []
    assert len(planned["changes"]) == 1, planned


@pytest.mark.parametrize("vendor", ["ami", "crb"])
def test_a_setting_that_needs_the_power_off_gets_that(vendor: str, tmp_path: Path) -> None:
    bmc = Bmc(vendor, tmp_path, reset_seconds=0.1)
    assert run(bmc, state="applied", settings={"smt": False})["plan"]["cold"] is True
    run(bmc, state="reset", settings={"smt": False})
    kinds = [body["ResetType"] for _method, path, body in bmc.requests if path.endswith("Reset")]
    assert kinds == ["GracefulShutdown", "On"]
    assert run(bmc, settings={"smt": False})["plan"]["settings"][0]["state"] == "same"
    bmc.close()


def test_ansible_runs_it_and_never_shows_the_password(dell: Bmc, tmp_path: Path) -> None:
    arguments = given(dell) | {"password": "{{ secret }}", "state": "applied"}
    play = tmp_path / "play.yml"
    tasks = [
        {"name": "Apply", "llamatower.tower.redfish_bios": arguments},
        {"name": "Fail", "llamatower.tower.redfish_bios": arguments | {"ca_path": "/x"}},
    ]
    play.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    (tmp_path / "secret.json").write_text(json.dumps({"secret": PASSWORD}))
    command = [
        sys.executable,
        "-m",
        "ansible",
        "playbook",
        "-vvv",
        "--diff",
        "-e",
        f"@{tmp_path}/secret.json",
        str(play),
    ]
    done = subprocess.run(
        command, cwd=REPO, env=os.environ | {"ANSIBLE_NOCOLOR": "1"}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "/x is no file of CA certificates" in said
    assert re.search(r"^ *-.*NumaNodesPerSocket.*4", said, re.MULTILINE), said
    assert re.search(r"^ *\+.*NumaNodesPerSocket.*1", said, re.MULTILINE), said
    assert dell.pending == CHANGES["dell"]
    assert PASSWORD not in said


# --- What goes wrong, one sentence each ----------------------------------------------------------------


def test_a_wrong_password(dell: Bmc) -> None:
    said = run(dell, password="wrong", state="applied")["msg"]
    assert said == f"The BMC {dell.host} refuses the user name or password (Invalid credentials.)."


def test_a_certificate_that_has_expired(tmp_path: Path) -> None:
    bmc = Bmc("dell", tmp_path, days=-2)
    assert run(bmc)["msg"] == (
        f"The certificate of the BMC {bmc.host} is not trusted (certificate has expired): give its CA, or renew it."
    )
    assert run(bmc, validate_certs=False)["plan"]["changes"] == CHANGES["dell"]
    bmc.close()


def test_a_certificate_of_an_unknown_ca(dell: Bmc) -> None:
    assert "is not trusted" in run(dell, ca_path=None)["msg"]
    assert dell.requests == []


def test_an_unknown_setting_lists_what_there_is(dell: Bmc) -> None:
    failed = run(dell, state="applied", settings={"snc": False, "nodes_per_socket": 1})
    assert (
        failed["msg"] == "This board has no snc by a name that is known; its attributes like it: none that is like it."
    )
    assert dell.writes == []


def test_an_attribute_that_is_not_there_or_read_only(dell: Bmc) -> None:
    failed = run(dell, state="applied", settings={}, attributes={"NumaNodes": "1"})
    assert "This board has no attribute NumaNodes; those like it: NumaNodesPerSocket" in failed["msg"]
    failed = run(dell, state="applied", settings={}, attributes={"SystemServiceTag": "X"})
    assert "locked by the BIOS, which has it read-only" in failed["msg"]
    assert dell.writes == []


def test_an_attribute_that_a_profile_locks(tmp_path: Path) -> None:
    bmc = Bmc("hpe", tmp_path)
    bmc.current["WorkloadProfile"] = "GeneralPowerEfficientCompute"
    failed = run(bmc, state="applied", settings={"nodes_per_socket": 1})
    assert "locked by WorkloadProfile, which is GeneralPowerEfficientCompute: change that first." in failed["msg"]
    assert bmc.writes == []
    bmc.close()


def test_settings_that_somebody_else_left_pending(dell: Bmc) -> None:
    dell.pending["LogicalProc"] = "Disabled"
    assert "Somebody else's settings are pending" in run(dell, state="applied")["msg"]
    assert dell.writes == []
    assert run(dell, state="applied", accept_pending=True)["changed"] is True
    assert "Somebody else's settings are pending" in run(dell, state="reset")["msg"]
    assert dell.resets == 0
    assert run(dell, state="reset", accept_pending=True)["changed"] is True


def test_a_bmc_that_dies_after_the_write_leaves_the_values_to_go_back_to(dell: Bmc) -> None:
    dell.faults["die"] = True
    run(dell, state="applied", timeout=1)
    record = json.loads((dell.ca.parent / "record.json").read_text())
    assert record["previous"] == {"NumaNodesPerSocket": "4", "CcxAsNumaDomain": "Enabled"}
    assert "does not answer" in (said := run(dell, timeout=2)["msg"]) or "cannot be reached" in said, said


def test_a_host_that_does_not_come_back(dell: Bmc) -> None:
    run(dell, state="applied")
    dell.faults["never"] = True
    said = run(dell, state="reset", wait=0.5)["msg"]
    assert said.startswith("The BIOS did not take the settings over within 0.5 seconds.")


def test_new_values_that_are_shown_before_the_reset_are_not_believed(dell: Bmc) -> None:
    run(dell, state="applied")
    dell.faults |= {"never": True}
    # The plan sees them pending; during the reset they are shown as if they were current.
    dell.on_request = lambda method, path: dell.faults.update(early=True) if path.endswith("Reset") else None
    assert "did not take the settings over" in run(dell, state="reset", wait=0.5)["msg"]


def test_a_write_that_is_accepted_and_dropped_is_no_success(dell: Bmc) -> None:
    """As a profile makes some do: they say yes, and nothing is pending."""
    dell.faults["drop"] = ["CcxAsNumaDomain"]
    said = run(dell, state="applied", timeout=1)["msg"]
    assert said == (
        f"The BMC {dell.host} accepted NumaNodesPerSocket, CcxAsNumaDomain, and did not show what was written "
        "as pending within 1 seconds."
    )


def test_a_job_that_fails_says_why(dell: Bmc) -> None:
    run(dell, state="applied")
    dell.faults["job"] = "Exception"
    said = run(dell, state="reset")["msg"]
    assert said == f"The BMC {dell.host} could not apply the settings (The task is exception)."


def test_a_write_that_needs_a_license(bmc: Bmc) -> None:
    bmc.faults["license"] = True
    said = run(bmc, state="applied")["msg"]
    assert said.startswith(f"The BMC {bmc.host} needs a license for PATCH")
    assert said.count(". ") <= 1


def test_a_refusal_that_breaks_off_is_still_one_sentence(dell: Bmc) -> None:
    dell.faults["break_off"] = ["PATCH"]
    said = run(dell, state="applied")["msg"]
    assert said.startswith(f"The BMC {dell.host} answers PATCH /redfish/v1/")
    assert said.endswith("with HTTP 500.")


def test_a_session_that_ends_is_opened_again(dell: Bmc) -> None:
    dell.faults["expire"] = 3
    assert run(dell, state="applied")["changed"] is True
    assert dell.pending == CHANGES["dell"]


def test_a_bmc_without_sessions_gets_the_password_with_each_request(dell: Bmc) -> None:
    dell.faults["basic"] = True
    assert run(dell, state="applied")["changed"] is True
    assert dell.pending == CHANGES["dell"]
    said = run(dell, password="wrong")["msg"]
    assert said == f"The BMC {dell.host} refuses the user name or password (Invalid credentials.)."


def test_a_bmc_that_refuses_its_own_etag_is_written_to_all_the_same(dell: Bmc) -> None:
    dell.faults["weak"] = True
    assert run(dell, state="applied")["changed"] is True
    assert dell.pending == CHANGES["dell"]


def test_settings_that_change_while_they_are_written_are_left_alone(dell: Bmc) -> None:
    def meanwhile(method: str, _path: str) -> None:
        if method == "PATCH":
            dell.version += 1

    dell.on_request = meanwhile
    assert "changed at the same time" in run(dell, state="applied")["msg"]
    assert dell.pending == {}


def test_a_bmc_that_cannot_restart_in_one_step_gets_two(dell: Bmc) -> None:
    dell.kinds.remove("GracefulRestart")
    run(dell, state="applied")
    assert run(dell, state="reset")["changed"] is True
    kinds = [body["ResetType"] for _method, path, body in dell.requests if path.endswith("Reset")]
    assert kinds == ["GracefulShutdown", "On"]


def test_a_machine_that_is_off_is_switched_on(dell: Bmc) -> None:
    dell.power = "Off"
    run(dell, state="applied")
    assert run(dell, state="reset")["changed"] is True
    assert [body["ResetType"] for _method, path, body in dell.requests if path.endswith("Reset")] == ["On"]


def test_a_bmc_that_resets_in_no_way_through_the_system_is_left_alone(dell: Bmc) -> None:
    dell.kinds[:] = ["On", "ForceRestart"]
    run(dell, state="applied")
    assert "cannot do GracefulShutdown: reboot the machine from its own system" in run(dell, state="reset")["msg"]
    assert dell.resets == 0


def test_without_the_file_of_the_registry_only_exact_attributes_are_written(dell: Bmc) -> None:
    dell.faults["undescribed"] = True
    said = run(dell, state="applied", settings={"nodes_per_socket": 1})["msg"]
    assert said == (
        "No attribute registry of this BMC tells the values of NumaNodesPerSocket (NumaNodesPerSocket): "
        "give the one that is meant in bios_attributes."
    )
    assert dell.writes == []
    assert run(dell, state="applied", settings={}, attributes={"NumaNodesPerSocket": 1})["changed"] is True
    assert dell.pending == {"NumaNodesPerSocket": "1"}


def test_a_record_that_is_none_is_named(dell: Bmc) -> None:
    (dell.ca.parent / "record.json").write_text("{")
    assert "record.json is no record of BIOS settings" in run(dell, state="applied")["msg"]
    assert dell.writes == []


@pytest.mark.parametrize(("status", "said"), [(503, "busy or restarting"), (412, "changed at the same time")])
def test_a_write_that_is_refused(status: int, said: str, dell: Bmc) -> None:
    dell.faults["PATCH"] = status
    assert said in run(dell, state="applied")["msg"]
    assert "written" not in json.loads((dell.ca.parent / "record.json").read_text())


def test_nothing_to_go_back_to(dell: Bmc) -> None:
    assert "has no values to go back to" in run(dell, state="applied", restored=True)["msg"]


def test_a_bmc_that_does_not_answer(tmp_path: Path) -> None:
    bmc = Bmc("dell", tmp_path)
    bmc.faults["hang"] = 3
    with pytest.raises(RedfishError, match="does not answer POST"):
        Redfish(bmc.host, USER, PASSWORD, str(bmc.ca), timeout=0.3).login()
    bmc.close()


# --- A BMC that leads elsewhere, or to another path of its own -----------------------------------------

SESSIONS = "/redfish/v1/SessionService/Sessions"
SETTINGS = "/redfish/v1/Systems/System.Embedded.1/Bios/Settings"


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Bmc]:
    """Another machine's, which must not be asked for anything."""
    (tmp_path / "other").mkdir()
    one = Bmc("dell", tmp_path / "other")
    yield one
    one.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("whole", [False, True])
def test_a_redirected_session_and_write_go_to_the_other_path_as_they_are(status: int, whole: bool, dell: Bmc) -> None:
    for method, path in (("POST", SESSIONS), ("PATCH", SETTINGS), ("GET", "/redfish/v1/Systems")):
        dell.redirects[method, path] = (status, f"https://{dell.host}{path}/" if whole else f"{path}/")
        dell.moved[f"{path}/"] = path
    assert run(dell, state="applied")["changed"] is True
    assert dell.pending == CHANGES["dell"]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_to_another_machine_is_refused(method: str, status: int, dell: Bmc, other: Bmc) -> None:
    path = {"POST": SESSIONS, "PATCH": SETTINGS}[method]
    dell.redirects[method, path] = (status, f"https://{other.host}{path}")
    said = run(dell, state="applied", validate_certs=False)["msg"]
    assert said == (
        f"The BMC {dell.host} leads to https://{other.host}{path}, which is no path on it, and nothing was sent there: "
        "name it in bios_bmc_host as it names itself, or update its firmware."
    )
    assert other.requests == []


def test_a_redirect_without_tls_is_refused(dell: Bmc) -> None:
    dell.redirects["POST", SESSIONS] = (308, f"http://{dell.host}{SESSIONS}/")
    assert "leads to http://" in run(dell, state="applied")["msg"]


def test_redirects_in_a_circle_end(dell: Bmc) -> None:
    dell.redirects["POST", SESSIONS] = (307, SESSIONS)
    said = run(dell)["msg"]
    assert said == f"The BMC {dell.host} redirects POST {SESSIONS} in a circle: its firmware is not supported."
    assert len(dell.requests) == 6


LINKS = {
    "Systems": lambda documents, link: documents["/redfish/v1/"].update(Systems={"@odata.id": link}),
    "member": lambda documents, link: documents["/redfish/v1/Systems"].update(Members=[{"@odata.id": link}]),
    "page": lambda documents, link: documents["/redfish/v1/Systems"].update({"Members@odata.nextLink": link}),
    "Bios": lambda documents, link: documents[VENDORS["dell"]["system"]].update(Bios={"@odata.id": link}),
    "settings": lambda documents, link: documents[VENDORS["dell"]["system"] + "/Bios"].update(
        {"@Redfish.Settings": {"SettingsObject": {"@odata.id": link}}}
    ),
}


@pytest.mark.parametrize("basic", [False, True])
@pytest.mark.parametrize("where", LINKS)
def test_a_link_that_is_no_path_on_the_bmc_is_refused(where: str, basic: bool, dell: Bmc, other: Bmc) -> None:
    """Appended to the name of the BMC, the first would be a user of another one."""
    leads = f"@{other.host}/x" if basic else f"https://{other.host}/x"
    dell.on_documents = lambda documents: LINKS[where](documents, leads)
    if basic:
        dell.faults["basic"] = True
    with (
        pytest.raises(RedfishError, match="which is no path on it"),
        Redfish(dell.host, USER, PASSWORD, validate_certs=False) as bmc,
    ):
        bmc.bios()
    assert (other.requests, dell.writes) == ([], [])


def test_a_reset_goes_to_no_other_machine(dell: Bmc, other: Bmc) -> None:
    def lead(documents: dict[str, dict[str, Any]]) -> None:
        reset = documents[VENDORS["dell"]["system"]]["Actions"]["#ComputerSystem.Reset"]
        reset["target"] = f"https://{other.host}{reset['target']}"

    run(dell, state="applied")
    dell.on_documents = lead
    assert "which is no path on it" in run(dell, state="reset", validate_certs=False)["msg"]
    assert (other.requests, dell.resets) == ([], 0)


def test_a_session_and_a_task_at_another_machine_are_not_asked_for(dell: Bmc, other: Bmc) -> None:
    """What was done is done; only what was told of it is not followed."""
    elsewhere = {"X-Auth-Token": "token", "Location": f"https://{other.host}{SESSIONS}/1"}
    dell.raw["POST", SESSIONS] = (elsewhere, b"{}")
    dell.tokens.add("token")
    assert run(dell, state="applied", validate_certs=False)["changed"] is True
    record = json.loads((dell.ca.parent / "record.json").read_text())
    (dell.ca.parent / "record.json").write_text(json.dumps(record | {"task": f"https://{other.host}/task"}))
    assert run(dell, state="reset", validate_certs=False)["changed"] is True
    assert other.requests == []


# --- Answers that are too large or too slow -------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_without_measure_is_refused(packed: bool, status: int, dell: Bmc) -> None:
    data = b"{" + b" " * 2**25 + b"}"
    dell.raw["GET", "/redfish/v1/"] = ({"Content-Encoding": "gzip"} if packed else {}, data)
    if packed:
        dell.raw["GET", "/redfish/v1/"] = ({"Content-Encoding": "gzip"}, gzip.compress(data))
    dell.raw_status = status
    said = run(dell)["msg"]
    if status == 200:
        assert said == f"The BMC {dell.host} answers GET /redfish/v1/ with what cannot be used (too large)."
    else:
        assert said == f"The BMC {dell.host} answers GET /redfish/v1/ with HTTP 500."


@pytest.mark.parametrize("data", [b"[" * 100_000, b"[1]", b"null", b"\x1f\x8bnone", b"\xff\xfe\x00", b'{"a": '])
def test_an_answer_that_is_no_object_is_one_sentence(data: bytes, dell: Bmc) -> None:
    dell.raw["GET", "/redfish/v1/"] = ({}, data)
    said = run(dell)["msg"]
    assert said.startswith(f"The BMC {dell.host} answers GET /redfish/v1/ with what"), said


def test_an_answer_that_never_ends_does(dell: Bmc) -> None:
    with Redfish(dell.host, USER, PASSWORD, str(dell.ca), timeout=0.3) as bmc:
        dell.faults["trickle"] = 0.1
        begin = time.monotonic()
        with pytest.raises(RedfishError, match="does not answer GET"):
            bmc.get(FILE)
    assert time.monotonic() - begin < 4


# --- Registries where others have them -------------------------------------------------------------------

REGISTRIES, NAME = "/redfish/v1/Registries", "BiosAttributeRegistry.dell"
FILE = f"/registries/{NAME}.json"


def next_page(documents: dict[str, dict[str, Any]]) -> None:
    members = documents[REGISTRIES]["Members"]
    documents[f"{REGISTRIES}?$skip=1"] = {"Members": members}
    documents[REGISTRIES] = {
        "Members": [{"@odata.id": "/redfish/v1/Registries/Base.1.0"}],
        "Members@odata.nextLink": f"{REGISTRIES}?$skip=1",
    }


def another_version(documents: dict[str, dict[str, Any]]) -> None:
    documents[VENDORS["dell"]["system"] + "/Bios"]["AttributeRegistry"] = "BiosAttributeRegistry.v1_2_3"
    documents[f"{REGISTRIES}/BiosAttributeRegistry.v1_0_9"] = documents.pop(f"{REGISTRIES}/{NAME}")
    documents[REGISTRIES]["Members"] = [{"@odata.id": f"{REGISTRIES}/BiosAttributeRegistry.v1_0_9"}]


def named_inside(documents: dict[str, dict[str, Any]]) -> None:
    documents[f"{REGISTRIES}/7"] = documents.pop(f"{REGISTRIES}/{NAME}") | {"Id": "7", "Registry": NAME}
    documents[REGISTRIES]["Members"] = [{"@odata.id": f"{REGISTRIES}/7"}]


def unnamed(documents: dict[str, dict[str, Any]]) -> None:
    documents[VENDORS["dell"]["system"] + "/Bios"]["AttributeRegistry"] = None


def not_linked(documents: dict[str, dict[str, Any]]) -> None:
    del documents["/redfish/v1/"]["Registries"]


def below_the_bios(documents: dict[str, dict[str, Any]]) -> None:
    place = VENDORS["dell"]["system"] + "/Bios/BiosRegistry"
    documents[place] = documents.pop(FILE)
    documents[f"{REGISTRIES}/{NAME}"]["Location"] = [{"Language": "en", "Uri": {"@odata.id": place}}]


def itself(documents: dict[str, dict[str, Any]]) -> None:
    documents[f"{REGISTRIES}/{NAME}"] = documents.pop(FILE)


def languages(documents: dict[str, dict[str, Any]]) -> None:
    documents["/registries/zh.json"] = {"RegistryEntries": {"Attributes": [{"AttributeName": "NumaNodesPerSocket"}]}}
    documents[f"{REGISTRIES}/{NAME}"]["Location"] = [
        None,
        {"Language": "zh", "Uri": "/registries/zh.json"},
        {"Language": "English", "Uri": "https://example.com/of/the/vendor.json"},
        {"Language": "EN-us", "Uri": FILE},
    ]


def no_list(documents: dict[str, dict[str, Any]]) -> None:
    documents[f"{REGISTRIES}/{NAME}"]["Location"] = {"Language": None, "Uri": FILE}


PLACES = [next_page, another_version, named_inside, unnamed, not_linked, below_the_bios, itself, languages, no_list]


@pytest.mark.parametrize("place", PLACES)
def test_the_registry_is_found_wherever_it_is(place: Any, dell: Bmc) -> None:
    dell.on_documents = place
    assert run(dell)["plan"]["changes"] == CHANGES["dell"]


def test_a_registry_of_another_board_is_not_taken(dell: Bmc) -> None:
    """Its values would be refused at best."""

    def others(documents: dict[str, dict[str, Any]]) -> None:
        documents[VENDORS["dell"]["system"] + "/Bios"]["AttributeRegistry"] = "BiosAttributeRegistry1B23.v1_0_0"
        entry = documents.pop(f"{REGISTRIES}/{NAME}")
        documents[FILE]["RegistryEntries"]["Attributes"] = documents[FILE]["RegistryEntries"]["Attributes"][:2]
        documents[f"{REGISTRIES}/BiosAttributeRegistry1B1A.v1_0_0"] = entry
        documents[REGISTRIES]["Members"] = [{"@odata.id": f"{REGISTRIES}/BiosAttributeRegistry1B1A.v1_0_0"}]

    dell.on_documents = others
    assert "No attribute registry of this BMC tells the values" in run(dell, state="applied")["msg"]


def test_pages_that_never_end_do(dell: Bmc) -> None:
    def pages(documents: dict[str, dict[str, Any]]) -> None:
        for page in range(50):
            documents[f"{REGISTRIES}?{page}"] = {
                "Members": [], "Members@odata.nextLink": f"{REGISTRIES}?{(page + 1) % 50}"
            }  # fmt: skip
        documents[REGISTRIES]["Members@odata.nextLink"] = f"{REGISTRIES}?0"

    dell.on_documents = pages
    assert run(dell)["plan"]["changes"] == CHANGES["dell"]


# --- Null where there should be an object or a list --------------------------------------------------------

NOTHING = "shows no BIOS settings; some need a license, newer firmware, or that the machine was on once."
SYSTEM = VENDORS["dell"]["system"]


@pytest.mark.parametrize("value", [None, 7])
@pytest.mark.parametrize(
    ("path", "key", "said"),
    [
        (f"{SYSTEM}/Bios", "Attributes", NOTHING),
        (SYSTEM, "Bios", NOTHING),
        ("/redfish/v1/", "Systems", "have no link to Systems"),
        ("/redfish/v1/Systems", "Members", "manages these systems: none"),
    ],
)
def test_what_cannot_be_missing_is_named(path: str, key: str, said: str, value: Any, dell: Bmc) -> None:
    dell.on_documents = lambda documents: documents[path].update({key: value})
    told = run(dell, state="applied")["msg"]
    assert said in told, told
    assert dell.writes == []


@pytest.mark.parametrize("value", [None, [None]])
@pytest.mark.parametrize(
    ("path", "key"),
    [
        (SYSTEM, "Actions"),
        (f"{SYSTEM}/Bios", "@Redfish.Settings"),
        ("/redfish/v1/", "Registries"),
        (REGISTRIES, "Members"),
        (f"{REGISTRIES}/{NAME}", "Location"),
        (FILE, "RegistryEntries"),
        (SETTINGS, "Attributes"),
    ],
)
def test_what_may_be_missing_may_be_null(path: str, key: str, value: Any, dell: Bmc) -> None:
    dell.on_documents = lambda documents: documents[path].update({key: value})
    assert len(run(dell)["plan"]["settings"]) == 2


# --- The machine that is meant ------------------------------------------------------------------------------

OTHER = {"uuid": "11111111-2222-3333-4444-555555555555", "serials": ["OTHER99"]}


def test_nothing_is_written_to_another_machine(dell: Bmc) -> None:
    for state in ("applied", "reset"):
        said = run(dell, state=state, machine=OTHER)["msg"]
        assert "and this tower is one UUID 11111111-2222-3333-4444-555555555555" in said, said
        assert "correct bios_bmc_host" in run(dell, state=state, machine=OTHER, accept_unknown_machine=True)["msg"]
    assert (dell.writes, dell.resets) == ([], 0)
    shown = run(dell, machine=OTHER)
    assert "correct bios_bmc_host" in shown["text"], "the plan says so, too"


@pytest.mark.parametrize(
    "machine",
    [
        {"uuid": "4C4C4544-0042-4310-8031-B8C04F4E4B32"},
        {"uuid": "44454c4c-4200-1043-8031-b8c04f4e4b32"},
        {"uuid": None, "serials": ["ABC1234"]},
    ],
)
def test_a_machine_is_known_by_its_uuid_or_its_serial_number(machine: dict[str, Any], dell: Bmc) -> None:
    assert run(dell, state="applied", machine=machine)["changed"] is True
    assert json.loads((dell.ca.parent / "record.json").read_text())["machine"] == {
        "uuid": dell.uuid, "serials": [dell.serial]
    }  # fmt: skip


def test_nothing_is_written_where_nothing_shows_which_machine_it_is(dell: Bmc) -> None:
    dell.uuid, dell.serial = "00000000-0000-0000-0000-000000000000", "To be filled by O.E.M."
    said = run(dell, state="applied", machine=OTHER)["msg"]
    assert "nothing shows that it is this tower's" in said, said
    assert dell.writes == []
    assert run(dell, state="applied", machine=OTHER, accept_unknown_machine=True)["changed"] is True


def test_a_machine_that_does_not_answer_is_known_by_its_record(dell: Bmc) -> None:
    silent = {"uuid": None}
    assert "nothing shows that it is this tower's" in run(dell, state="applied", machine=silent)["msg"]
    run(dell, state="applied", machine={"uuid": dell.uuid})
    assert run(dell, state="reset", machine=silent)["changed"] is True
    assert run(dell, state="applied", restored=True, machine=silent, boot="boot-2")["changed"] is True


def test_the_record_of_another_machine_is_not_restored(dell: Bmc) -> None:
    """The tower was replaced under its name, or two names were exchanged."""
    run(dell, state="applied")
    run(dell, state="reset")
    dell.uuid, dell.serial = "11111111-2222-3333-4444-555555555555", "OTHER99"
    writes = len(dell.writes)
    for machine in (None, OTHER):
        failed = run(dell, state="applied", restored=True, boot="boot-2", machine=machine)
        assert "and its record is of one UUID 4c4c4544-" in failed["msg"], failed
    assert len(dell.writes) == writes


def test_a_record_that_does_not_tell_its_machine_is_restored_on_consent_only(dell: Bmc) -> None:
    (dell.ca.parent / "record.json").write_text(json.dumps({"previous": {"NumaNodesPerSocket": "2"}}))
    known = {"uuid": dell.uuid}
    said = run(dell, state="applied", restored=True, machine=known)["msg"]
    assert "nothing shows that it is this tower's and of its record" in said, said
    assert dell.writes == []
    assert run(dell, state="applied", restored=True, machine=known, accept_unknown_machine=True)["changed"] is True
