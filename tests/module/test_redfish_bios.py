# SPDX-License-Identifier: MIT
"""BIOS settings over Redfish: what a BMC of each vendor is sent."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.module_utils.bios.plan import bios_plan
from plugins.module_utils.bios.redfish import Redfish, RedfishError
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
