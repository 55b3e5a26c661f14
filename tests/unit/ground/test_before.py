# SPDX-License-Identifier: MIT
"""What a machine was before the first run is written down once, and put back by that."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugins.module_utils import before
from plugins.module_utils.before import Value, changed_values, forget, keep, read_record, record, restore


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of the kernel below /sys of their own, and a place for the record."""
    monkeypatch.setattr(before, "RECORD", str(tmp_path / "var/llamatower/before.json"))
    monkeypatch.setattr(before, "TRACES", (str(tmp_path / "trace"),))
    (tmp_path / "var").mkdir()
    (tmp_path / "thp").write_text("always [madvise] never\n")
    for policy, governor in enumerate(("schedutil", "ondemand")):
        (tmp_path / f"policy{policy}").write_text(f"{governor}\n")
    return tmp_path


def run(machine: Path, unless: str = "nothing") -> None:
    """What a role does before it changes something."""
    found, _changed = record([str(machine / "policy*"), str(machine / "thp")], [str(machine / unless)])
    if found:
        keep(found)


def change(machine: Path) -> None:
    for name in ("policy0", "policy1", "thp"):
        (machine / name).write_text("performance\n")


def test_values_come_back_in_the_order_in_which_they_were_named(machine: Path) -> None:
    run(machine)
    change(machine)
    values = list(changed_values([str(machine / "thp"), str(machine / "policy*")], None))
    assert [(Path(value.path).name, value.now, value.wanted) for value in values] == [
        ("policy0", "performance", "schedutil"),
        ("policy1", "performance", "ondemand"),
        ("thp", "performance", "madvise"),
    ]
    assert restore(values) == []
    assert (machine / "policy1").read_text() == "ondemand\n"
    assert list(changed_values([str(machine / "*")], None)) == []


def test_what_was_written_down_is_never_overwritten(machine: Path) -> None:
    run(machine)
    first = read_record()
    change(machine)
    run(machine)
    assert read_record() == first
    assert record([str(machine / "policy*")], [])[1] is False


def test_a_role_adds_the_files_that_it_changes_later(machine: Path) -> None:
    run(machine)
    (machine / "pages").write_text("12\n")
    found, changed = record([str(machine / "pages")], [])
    assert changed and found and found["values"][str(machine / "pages")] == "12"
    assert len(found["values"]) == 4


def test_nothing_is_written_down_of_a_machine_that_was_changed_already(machine: Path) -> None:
    run(machine, unless="thp")
    assert read_record() is None
    assert list(changed_values([str(machine / "policy*")], None)) == []


def test_a_record_is_not_begun_late_and_one_that_is_there_goes_on(machine: Path) -> None:
    (machine / "trace").touch()
    run(machine)
    assert read_record() is None
    (machine / "trace").unlink()
    run(machine)
    (machine / "trace").touch()
    assert record([str(machine / "*")], [])[1], "more files"


def test_what_was_not_written_down_gets_the_default_that_is_named(machine: Path) -> None:
    assert [value.wanted for value in changed_values([str(machine / "policy*")], "0")] == ["0", "0"]


def test_what_the_kernel_refuses_is_named_and_the_rest_is_done(machine: Path) -> None:
    values = [Value(str(machine / "no/such"), "a", "b"), Value(str(machine / "thp"), "a", "never")]
    assert restore(values) == [str(machine / "no/such")]
    assert (machine / "thp").read_text() == "never\n"


def test_the_record_has_packages_and_accounts_and_takes_its_directory_along(machine: Path) -> None:
    run(machine)
    found = read_record()
    assert found and "root" in found["accounts"] and "dpkg" in found["packages"]
    forget()
    assert list((machine / "var").iterdir()) == []
    run(machine)
    (machine / "var/llamatower/measured").touch()
    forget()
    assert [path.name for path in (machine / "var/llamatower").iterdir()] == ["measured"]


def test_a_directory_that_is_a_link_stays_as_somebody_made_it(machine: Path) -> None:
    (machine / "data").mkdir()
    (machine / "var/llamatower").symlink_to(machine / "data")
    run(machine)
    forget()
    assert (machine / "var/llamatower").is_symlink() and list((machine / "data").iterdir()) == []
