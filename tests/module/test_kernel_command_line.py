# SPDX-License-Identifier: MIT
"""Words on the kernel command line, on machines that boot in each way, and with what goes wrong there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from plugins.module_utils.boot import command_line
from plugins.module_utils.boot.loaders import has_words
from tests.boot_machine import KERNELS, NAME, PARTITIONS, ROOT_WORDS, WORDS, BootMachine
from tests.run_module import run_module

KINDS = ["grub", "systemd-boot", "proxmox grub", "proxmox systemd-boot"]
OTHER = "hugepagesz=1G hugepages=0:75,1:75"
DROP_IN = f"etc/default/grub.d/{NAME}.cfg"
RECORD = f"etc/kernel/{NAME}.words.json"


@pytest.fixture
def machine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BootMachine:
    """A machine that boots as the parameter says."""
    return BootMachine(getattr(request, "param", "grub"), tmp_path / "tree", monkeypatch)


every_kind = pytest.mark.parametrize("machine", KINDS, indirect=True)


@every_kind
def test_words_come_to_every_kernel_and_a_second_run_does_nothing(machine: BootMachine) -> None:
    first = machine.command()
    assert first["changed"] and not first["running"], first
    lines = machine.next()
    assert len(lines) == len(KERNELS) * (len(PARTITIONS) if machine.kind.startswith("proxmox") else 1)
    assert all(has_words(line, WORDS) and has_words(line, "quiet") for line in lines), lines
    machine.runs()
    second = machine.command()
    assert (second["changed"], machine.runs()) == (False, 0), second


@every_kind
def test_words_are_taken_away_and_everything_is_as_before(machine: BootMachine) -> None:
    before = machine.files()
    machine.command()
    gone = machine.command(None)
    assert gone["changed"] and gone["given"] == [WORDS], gone
    assert machine.files() == before
    machine.runs()
    again = machine.command(None)
    assert (again["changed"], machine.runs()) == (False, 0), again


@every_kind
def test_other_words_take_the_place_of_those_of_before(machine: BootMachine) -> None:
    machine.command(OTHER)
    assert machine.command()["changed"]
    lines = machine.next()
    assert all(has_words(line, WORDS) and not has_words(line, OTHER) for line in lines), lines


@every_kind
def test_a_check_run_tells_and_writes_nothing(machine: BootMachine) -> None:
    before = machine.files()
    told = machine.command(check=True, diff=True)
    assert told["changed"], told
    assert machine.files() == before
    assert machine.runs() == 0
    assert [WORDS in each["after"] and WORDS not in each["before"] for each in told["diff"]] == [True, True], told
    machine.command()
    assert not machine.command(check=True)["changed"]
    machine.command(OTHER)
    assert OTHER in machine.command(check=True, diff=True)["diff"][0]["before"]


@pytest.mark.parametrize("machine", ["grub", "systemd-boot"], indirect=True)
def test_a_generator_that_failed_once_is_run_again(machine: BootMachine) -> None:
    files, before = machine.files(), machine.next()
    machine.fault("full")
    failed = machine.command()
    assert failed["failed"]
    assert " failed (" in failed["msg"], failed["msg"]
    assert f"does not have {WORDS} for every kernel: make room in /boot" in failed["msg"]
    assert machine.next() == before
    assert machine.command()["failed"], "it is not taken for done, however often"
    machine.mended()
    mended = machine.command()
    assert mended["changed"], "the file is right, and what is made of it was not"
    assert all(has_words(line, WORDS) for line in machine.next())
    machine.command(None)
    assert machine.files() == files, "it is known whose words they were"


@pytest.mark.parametrize("machine", ["grub", "systemd-boot"], indirect=True)
def test_words_whose_removal_failed_are_removed_by_the_next_run(machine: BootMachine) -> None:
    before = machine.files()
    machine.command()
    machine.fault("full")
    failed = machine.command(None)
    assert failed["failed"] and f"still has {WORDS}" in failed["msg"], failed
    machine.mended()
    assert machine.command(None)["changed"]
    assert machine.files() == before


@pytest.mark.parametrize("kept", [[DROP_IN], [DROP_IN, RECORD], [RECORD]])
def test_a_run_that_was_killed_at_any_step_is_made_good(machine: BootMachine, kept: list[str]) -> None:
    """The file is there and nothing was made of it; or only the record is there."""
    machine.command()
    files = machine.files()
    machine.command(None)
    for path in kept:
        (machine.tree / path).write_text(files[path])
    assert machine.command()["changed"]
    assert machine.files() == files


@every_kind
def test_a_directory_that_cannot_be_written_is_named(machine: BootMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: str, *_arguments: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    for given, words in ((None, WORDS), (WORDS, OTHER), (WORDS, None)):
        machine.command(given)
        with monkeypatch.context() as patch:
            for name in ("write_beside", "write_json"):
                patch.setattr(command_line, name, fails)
            patch.setattr(Path, "unlink", fails)
            refused = machine.command(words)
        assert refused["msg"].startswith("The kernel command line cannot be changed ("), refused
        assert "Read-only file system" in refused["msg"] and str(machine.tree) in refused["msg"]
    assert machine.command(None)["changed"], "once it is mended"


def test_a_grub_cfg_that_would_be_cut_off_is_put_back(machine: BootMachine) -> None:
    before = machine.text("boot/grub/grub.cfg")
    machine.fault("cut")
    failed = machine.command()
    assert failed["failed"] and "No space left on device" in failed["msg"], failed
    assert machine.text("boot/grub/grub.cfg") == before
    assert machine.text("boot/grub/grub.cfg.new") is None


def test_a_grub_cfg_that_was_cut_off_is_made_again_or_named(machine: BootMachine) -> None:
    machine.command()
    path = machine.tree / "boot/grub/grub.cfg"
    whole = path.read_text()
    path.write_text(whole[: whole.index("### END /etc/grub.d/30")])
    machine.fault("full")
    assert "is cut off: the tower may not start again" in machine.command()["msg"]
    machine.mended()
    assert machine.command()["changed"]
    assert path.read_text() == whole


def test_a_file_that_sets_the_command_line_anew_is_looked_for(machine: BootMachine) -> None:
    (machine.tree / "etc/default/grub.d/zz-site.cfg").write_text('GRUB_CMDLINE_LINUX="noresume"\n')
    failed = machine.command()
    assert f"update-grub ran, and /boot/grub/grub.cfg does not have {WORDS}" in failed["msg"], failed
    assert f"see what beside /{DROP_IN} sets the kernel command line" in failed["msg"]


@pytest.mark.parametrize("machine", ["proxmox grub", "proxmox systemd-boot"], indirect=True)
def test_a_partition_that_the_tool_passes_over_is_noticed(machine: BootMachine) -> None:
    """proxmox-boot-tool says that it worked."""
    machine.fault(PARTITIONS[1])
    failed = machine.command()
    assert f"does not have {WORDS} for every kernel" in failed["msg"], failed
    machine.mended()
    assert machine.command()["changed"]


@pytest.mark.parametrize("machine", ["proxmox grub", "proxmox systemd-boot"], indirect=True)
def test_a_partition_that_is_gone_is_passed_over(machine: BootMachine) -> None:
    (machine.tree / "etc/kernel/proxmox-boot-uuids").write_text("\n".join(["AAAA-BBBB", *PARTITIONS]) + "\n")
    assert machine.command()["changed"]


@every_kind
def test_words_that_the_administrator_gave_are_left_to_him(machine: BootMachine) -> None:
    if "grub" in machine.kind:
        (machine.tree / "etc/default/grub").write_text(f'GRUB_CMDLINE_LINUX="quiet {WORDS}"\n')
    else:
        (machine.tree / "etc/kernel/cmdline").write_text(f"{ROOT_WORDS} {WORDS}")
    before = machine.files()
    assert machine.command()["changed"], "nothing was made of it yet"
    assert all(line.count(WORDS) == 1 for line in machine.next())
    machine.runs()
    assert not machine.command()["changed"]
    assert not machine.command(None)["changed"]
    assert machine.runs() == 0
    for path, text in before.items():
        if path.startswith("etc/"):
            assert machine.text(path) == text


@pytest.mark.parametrize("machine", ["systemd-boot", "proxmox systemd-boot"], indirect=True)
def test_other_words_of_the_file_stay_as_they_are(machine: BootMachine) -> None:
    (machine.tree / "etc/kernel/cmdline").write_text(f"{ROOT_WORDS}  mitigations=off -- splash\nnoresume\n")
    machine.command()
    text = machine.text("etc/kernel/cmdline")
    assert text == f"{ROOT_WORDS}  mitigations=off {WORDS} -- splash\nnoresume\n"
    machine.command(None)
    assert machine.text("etc/kernel/cmdline") == f"{ROOT_WORDS}  mitigations=off -- splash\nnoresume\n"


@every_kind
def test_words_wait_for_a_restart_until_the_running_kernel_has_them(machine: BootMachine) -> None:
    def told() -> dict[str, object]:
        found: dict[str, object] = run_module("kernel_command_line_info", root=str(machine.tree))["kernel_command_line"]
        return found

    assert (told()["given"], told()["pending"]) == ({}, [])
    machine.command()
    assert (told()["given"], told()["pending"]) == ({NAME: [WORDS]}, [WORDS])
    machine.started(f"{ROOT_WORDS} {WORDS}")
    assert told()["pending"] == []
    assert machine.command()["running"]


# --- What is not known ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (None, f"add {WORDS} to the command line of the kernel in what starts it"),
        ("boot/extlinux/extlinux.conf", "the command line of the kernel in /boot/extlinux/extlinux.conf, and restart"),
    ],
)
def test_a_loader_that_is_not_known_is_left_to_the_administrator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str | None, said: str
) -> None:
    machine = BootMachine("other", tmp_path / "tree", monkeypatch)
    if path:
        (machine.tree / path).parent.mkdir()
        (machine.tree / path).touch()
    before = machine.files()
    failed = machine.command()
    assert failed["failed"] and failed["loader"] is None
    assert said in failed["msg"], failed["msg"]
    assert machine.command(check=True)["failed"], "a check run says so, too"
    assert machine.files() == before
    assert not machine.command(None)["changed"], "what was not given need not be taken"
    machine.started(WORDS)
    assert machine.command()["running"], "given by hand"


def test_a_unified_kernel_image_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = BootMachine("systemd-boot", tmp_path / "tree", monkeypatch)
    machine.efi("StubInfo", "systemd-stub 252.39-1~deb12u2")
    assert "has its command line within: add" in machine.command()["msg"]


def test_partitions_that_boot_in_different_ways_are_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = BootMachine("proxmox systemd-boot", tmp_path / "tree", monkeypatch)
    other = machine.tree / "dev/disk/by-uuid" / PARTITIONS[0] / "EFI/proxmox/grubx64.efi"
    other.parent.mkdir(parents=True)
    other.touch()
    assert "or boot in different ways: see proxmox-boot-tool status" in machine.command()["msg"]


@pytest.mark.parametrize("info", ["GRUB 2.12-9+deb13u1", None])
def test_what_started_the_kernel_counts_where_two_loaders_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, info: str | None
) -> None:
    machine = BootMachine("grub", tmp_path / "tree", monkeypatch)
    if info:
        machine.efi("LoaderInfo", info)
    assert machine.command()["loader"] == "GRUB"
    machine.efi("LoaderInfo", "systemd-boot 257.8-1~deb13u2")
    assert machine.command(check=True)["loader"] == "systemd-boot"
    machine.efi("LoaderInfo", "rEFInd 0.14.0")
    assert machine.command(check=True)["loader"] is None


@pytest.mark.parametrize("words", ["", "a  b", 'a"b', "$(reboot)", "a\nb", "a'b"])
def test_what_a_shell_would_read_otherwise_is_refused(machine: BootMachine, words: str) -> None:
    assert "cannot be given to the kernel" in machine.command(words)["msg"]
