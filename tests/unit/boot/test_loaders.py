# SPDX-License-Identifier: MIT
"""What boot loaders are given, read as they read it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from plugins.module_utils.boot.loaders import (
    GivenWords,
    Grub,
    entry_options,
    grub_kernels,
    has_words,
    settled,
    with_words,
    without_words,
)

WORDS = "hugepagesz=1G hugepages=0:150,1:150"
GRUB_CFG = """\
### BEGIN /etc/grub.d/00_header ###
set timeout=5
### END /etc/grub.d/00_header ###

### BEGIN /etc/grub.d/10_linux ###
menuentry 'Debian GNU/Linux' --class debian {
\tinsmod ext2
\techo\t'Loading Linux 6.1.0-42-amd64 ...'
\tlinux\t/boot/vmlinuz-6.1.0-42-amd64 root=UUID=1b2c-3d ro  quiet
\tinitrd\t/boot/initrd.img-6.1.0-42-amd64
}
submenu 'Advanced options for Debian GNU/Linux' {
\tmenuentry 'Debian GNU/Linux, with Linux 6.1.0-42-amd64 (recovery mode)' {
\t\tlinux\t/boot/vmlinuz-6.1.0-42-amd64 root=UUID=1b2c-3d ro single
\t}
}
### END /etc/grub.d/10_linux ###

### BEGIN /etc/grub.d/30_os-prober ###
menuentry 'Another' {
\tlinux /vmlinuz root=/dev/sdb1
}
### END /etc/grub.d/30_os-prober ###
"""
ENTRY = "title      Debian\nversion    6.1.0-42-amd64\noptions    root=UUID=1b2c-3d ro quiet\nlinux      /0123/linux\n"


@pytest.mark.parametrize(
    ("line", "has"),
    [
        (f"quiet {WORDS}", True),
        (f"{WORDS} quiet", True),
        (f"quiet {WORDS}0", False),
        (f"quiet x{WORDS}", False),
        ("hugepagesz=1G quiet hugepages=0:150,1:150", False),
        (f"quiet -- {WORDS}", False),
        (f"quiet --x {WORDS}", True),
        (f"quiet {WORDS} --", True),
        ("", False),
    ],
)
def test_words_count_in_one_piece_and_before_those_for_init(line: str, has: bool) -> None:
    assert has_words(line, WORDS) is has


@pytest.mark.parametrize("line", ["", "quiet", "root=/dev/sda1 ro  quiet", "quiet -- splash", "quiet --"])
def test_words_that_are_given_and_taken_leave_the_others_as_they_were(line: str) -> None:
    given = with_words(line, WORDS)
    assert has_words(given, WORDS), given
    assert without_words(given, [WORDS]) == line


def test_only_the_words_themselves_are_taken() -> None:
    longer = f"{WORDS}0 quiet"
    assert without_words(longer, [WORDS]) == longer
    assert without_words(f"{WORDS} a {WORDS} b", [WORDS]) == "a b"


def test_the_kernels_of_grub_are_those_of_this_system_but_for_a_rescue() -> None:
    assert grub_kernels(GRUB_CFG) == [["root=UUID=1b2c-3d ro  quiet"]]


@pytest.mark.parametrize("length", [0, 20, 300, len(GRUB_CFG) - 60])
def test_a_grub_cfg_that_is_cut_off_says_nothing(length: int) -> None:
    assert grub_kernels(GRUB_CFG[:length]) is None


def test_an_entry_without_a_kernel_is_cut_off() -> None:
    assert entry_options(ENTRY) == "root=UUID=1b2c-3d ro quiet"
    assert entry_options(ENTRY[: ENTRY.index("linux ")]) is None


def test_every_kernel_needs_the_words_and_none_may_have_the_former_ones() -> None:
    with_them = [[f"ro {WORDS}"], ["other", f"ro {WORDS}"]]
    assert settled(with_them, WORDS, [])
    assert not settled([*with_them, ["ro"]], WORDS, [])
    assert not settled([], WORDS, []), "nothing boots"
    assert not settled(None, None, [WORDS]), "nobody knows"
    assert not settled(with_them, None, [WORDS])
    assert settled([["ro"]], None, [WORDS])


def test_grub_adds_the_words_to_the_command_line_that_there_is(tmp_path: Path) -> None:
    text = Grub(tmp_path, lambda _words: (0, "", ""), "llamatower-hugepages").wanted_text(WORDS, GivenWords([], None))
    script = f'GRUB_CMDLINE_LINUX=quiet\n{text}echo "$GRUB_CMDLINE_LINUX"'
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == f"quiet {WORDS}", done.stderr
