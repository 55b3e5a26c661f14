# SPDX-License-Identifier: MIT
"""Words on the kernel command line: what boots this machine, which file it reads them from, and what it made of that.

Which loader it is, is asked of what the loader itself left (systemd's Boot Loader Interface: LoaderInfo and StubInfo
among the EFI variables), of Proxmox's list of boot partitions, and of the configuration of GRUB. Each has a file that
people write and a file that a program makes of it; words count as there only where they are in the second one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Optional

from ..sysfs import read_text

# Runs a program and returns its status, output and errors; 127 where there is no such program.
Run = Callable[[list[str]], tuple[int, str, str]]
# For each kernel that can be booted, its command lines in all places that it is booted from. None: cut off or unread.
Kernels = Optional[list[list[str]]]

# The vendor of the variables of systemd's Boot Loader Interface; four bytes of attributes come before each text.
EFI_VARIABLES, LOADER_INTERFACE = "sys/firmware/efi/efivars", "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
# proxmox-boot-tool's list of the partitions it boots from (ESP_LIST in its scripts/functions).
PROXMOX_PARTITIONS = "etc/kernel/proxmox-boot-uuids"
# These partitions are not kept mounted. As zz-proxmox-boot does: GRUB where its EFI program lies there or the firmware
# is a BIOS, else systemd-boot. In a name space of its own, so that nothing stays mounted whatever happens.
PROXMOX_READ = """\
mount -t vfat -o ro "$1" "$2" || mount -t vfat "$1" "$2" || exit 1  # where somebody has it mounted to write
cd "$2" || exit 1
if [ -d "$3" ] && ! [ -e EFI/proxmox/grubx64.efi ]; then
  echo systemd-boot
  for entry in loader/entries/proxmox-*.conf; do echo "--- $entry"; cat "$entry"; done
else
  echo GRUB
  cat grub/grub.cfg
fi
exit 0
"""
# What other boot loaders read, for the sentence that names it.
OTHER_FILES = (
    "boot/extlinux/extlinux.conf",
    "boot/firmware/cmdline.txt",
    "boot/refind_linux.conf",
    "etc/default/u-boot",
)


class GivenWords(NamedTuple):
    """The words that this project gave, or is about to give or take; kept so that they can be found again.

    ``made`` is what stood for a file that there was not: where no more is left in it, the file goes, too.
    """

    words: list[str]
    made: Optional[str]


def runner(find: Callable[[str], Optional[str]], execute: Callable[[list[str]], tuple[int, str, str]]) -> Run:
    """Runs programs by name, wherever they are."""

    def run(words: list[str]) -> tuple[int, str, str]:
        program = find(words[0])
        return execute([program, *words[1:]]) if program else (127, "", f"there is no {words[0]}")

    return run


def has_words(command_line: str, words: str) -> bool:
    """Whether a kernel takes these words from this command line, in one piece: what is behind ``--`` is for init."""
    taken = re.split(r"\s--(?:\s|$)", command_line, maxsplit=1)[0]
    return re.search(rf"(?:^|\s){re.escape(words)}(?:\s|$)", taken) is not None


def without_words(command_line: str, phrases: Iterable[str]) -> str:
    """A command line without these words; all others stay as they are."""
    for words in phrases:
        command_line = re.sub(rf"(?:^|\s+){re.escape(words)}(?=\s|$)", "", command_line).lstrip()
    return command_line


def with_words(command_line: str, words: str) -> str:
    """A command line with these words at the end of what is the kernel's."""
    taken, dashes, rest = re.match(r"(.*?)(\s--(?=\s|$)|$)(.*)", command_line).groups()  # type: ignore[union-attr]
    return f"{taken.rstrip()} {words}{dashes}{rest}".lstrip()


def grub_kernels(text: str) -> Kernels:
    """The command lines that grub.cfg boots Debian's kernels with, but for those of a rescue.

    None where the file is cut off: grub-mkconfig copies into it, and a full disk or a power failure may end that.
    """
    begun, ended = (re.findall(rf"^### {word} (\S+) ###$", text, re.MULTILINE) for word in ("BEGIN", "END"))
    if not begun or begun != ended:
        return None
    found = []
    for name, section in re.findall(r"^### BEGIN (\S+) ###$(.*?)^### END", text, re.MULTILINE | re.DOTALL):
        if re.fullmatch(r"\d+_linux(_zfs)?", os.path.basename(name)):
            found += re.findall(r"^\s*linux(?:efi|16)?\s+\S+[ \t]+(.*)$", section, re.MULTILINE)
    return [[line] for line in found if not {"single", "recovery"} & set(line.split())]


def entry_options(text: str) -> Optional[str]:
    """The command line of an entry of the Boot Loader Specification; None where it boots nothing or is cut off."""
    options = re.findall(r"^options\s+(.*)$", text, re.MULTILINE)
    return " ".join(options) if re.search(r"^linux\s+\S", text, re.MULTILINE) else None


def settled(kernels: Kernels, wanted: Optional[str], stale: Iterable[str]) -> bool:
    """Whether every kernel is booted with the wanted words, and none with those that should be gone."""
    if kernels is None:
        return False
    lines = [line for places in kernels for line in places]
    if any(has_words(line, words) for line in lines for words in stale):
        return False
    return wanted is None or (bool(kernels) and all(any(has_words(line, wanted) for line in each) for each in kernels))


class Loader:
    """One way to boot. ``file`` is written, ``generator`` makes ``generated`` of it; all below ``root``."""

    title, file, generated, generator = "", "", "", ""

    def __init__(self, root: Path, run: Run, name: str) -> None:
        self.root, self.run, self.name = root, run, name

    @property
    def path(self) -> Path:
        return self.root / self.file.lstrip("/")

    def text(self) -> Optional[str]:
        """What the file says; None where there is none."""
        return self.path.read_text(encoding="utf-8") if self.path.exists() else None

    def own_words(self) -> list[str]:
        """Words of this project's that the file itself tells from those of others."""
        return []

    def stand_in(self) -> Optional[str]:
        """What the generator takes where there is no such file; None where that is nothing."""
        return None

    def wanted_text(self, wanted: Optional[str], record: GivenWords) -> Optional[str]:
        """What the file should say with the wanted words and without those of the record; None for no file."""
        raise NotImplementedError

    def kernels(self) -> Kernels:
        """What the generated files say."""
        raise NotImplementedError

    def generate(self) -> tuple[int, str]:
        """Run the generator; returns its status and its last words."""
        return self._ran([self.generator.split()])

    def _ran(self, commands: list[list[str]]) -> tuple[int, str]:
        for words in commands:
            status, output, errors = self.run(words)
            if status:
                said = [line.strip() for line in (errors or output).splitlines() if line.strip()]
                return status, said[-1] if said else f"it ended with {status}"
        return 0, ""


class Grub(Loader):
    """GRUB as Debian and Ubuntu have it: grub-mkconfig reads /etc/default/grub and grub.d/*.cfg."""

    title, generated, generator = "GRUB", "/boot/grub/grub.cfg", "update-grub"

    def __init__(self, root: Path, run: Run, name: str) -> None:
        super().__init__(root, run, name)
        self.file = f"/etc/default/grub.d/{name}.cfg"

    def own_words(self) -> list[str]:
        return re.findall(r'^GRUB_CMDLINE_LINUX="\$GRUB_CMDLINE_LINUX (.+)"$', self.text() or "", re.MULTILINE)

    def wanted_text(self, wanted: Optional[str], record: GivenWords) -> Optional[str]:
        if wanted is None or self._others_have(wanted):
            return None
        return f'# Written by llamatower, and taken away by it.\nGRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {wanted}"\n'

    def _others_have(self, words: str) -> bool:
        """Whether the administrator has given these words already."""
        files = [self.root / "etc/default/grub", *sorted((self.root / "etc/default/grub.d").glob("*.cfg"))]
        values = (
            value
            for path in files
            if path != self.path
            for value in re.findall(r"^\s*GRUB_CMDLINE_LINUX=(.*)$", read_text(path) or "", re.MULTILINE)
        )
        return any(has_words(value.strip("\"'"), words) for value in values)

    def kernels(self) -> Kernels:
        return grub_kernels(read_text(self.root / self.generated.lstrip("/")) or "")

    def generate(self) -> tuple[int, str]:
        """The same; where there is no room, what it left goes, and a whole grub.cfg that it cut off is put back."""
        path = self.root / self.generated.lstrip("/")
        before = (path.read_bytes(), path.stat().st_mode & 0o7777) if self.kernels() is not None else None
        status, said = super().generate()
        if status:
            path.with_name(f"{path.name}.new").unlink(missing_ok=True)
        if before and self.kernels() is None:
            path.write_bytes(before[0])
            path.chmod(before[1])
        return status, said


class SystemdBoot(Loader):
    """systemd-boot, whose entries kernel-install writes with the words of /etc/kernel/cmdline."""

    title, file, generated = "systemd-boot", "/etc/kernel/cmdline", "the entries of systemd-boot"
    generator = "kernel-install add"
    # kernel-install takes all lines for one.
    first_line_only = False

    def stand_in(self) -> Optional[str]:
        """As in kernel-install's 90-loaderentry.install."""
        shipped = read_text(self.root / "usr/lib/kernel/cmdline")
        words = (shipped or read_text(self.root / "proc/cmdline") or "").split()
        return " ".join(word for word in words if not word.startswith(("BOOT_IMAGE=", "initrd=")))

    def wanted_text(self, wanted: Optional[str], record: GivenWords) -> Optional[str]:
        there = self.text()
        if there is None and wanted is None:
            return None
        before = ((self.stand_in() if there is None else there) or "").splitlines() or [""]
        lines = [without_words(line, [words for words in record.words if words != wanted]) for line in before]
        if wanted is not None:
            if not has_words(lines[0] if self.first_line_only else " ".join(lines), wanted):
                lines[0] = with_words(lines[0], wanted)
        elif lines == [record.made]:
            return None
        return there if lines == before and there is not None else "\n".join(lines) + "\n"

    def versions(self) -> list[str]:
        """The kernels that are installed, as the package systemd-boot finds them."""
        return sorted(path.name[len("vmlinuz-") :] for path in (self.root / "boot").glob("vmlinuz-*"))

    def kernels(self) -> Kernels:
        places = {self.run(["bootctl", option])[1].strip() for option in ("--print-esp-path", "--print-boot-path")}
        entries = [
            path for place in places - {""} for path in (self.root / place.lstrip("/")).glob("loader/entries/*.conf")
        ]
        found = []
        for version in self.versions():
            # A counter of boots that were tried may follow the version.
            named = re.compile(rf".*-{re.escape(version)}(\+[\d-]+)?\.conf")
            options = (entry_options(read_text(path) or "") for path in entries if named.fullmatch(path.name))
            found.append([line for line in options if line is not None])
        return found

    def generate(self) -> tuple[int, str]:
        return self._ran([[*self.generator.split(), each, f"/boot/vmlinuz-{each}"] for each in self.versions()])


class ProxmoxGrub(Grub):
    """GRUB on the partitions of proxmox-boot-tool, which has its own grub.cfg on each."""

    title, generated = "proxmox-boot-tool with GRUB", "the grub.cfg of a partition of proxmox-boot-tool"
    generator = "proxmox-boot-tool refresh"

    def kernels(self) -> Kernels:
        found: list[list[str]] = []
        for kind, text in proxmox_partitions(self.root, self.run):
            kernels = grub_kernels(text) if kind == "GRUB" else None
            if kernels is None:
                return None
            found += kernels
        return found

    def generate(self) -> tuple[int, str]:
        return Loader.generate(self)


class ProxmoxSystemdBoot(SystemdBoot):
    """systemd-boot on the partitions of proxmox-boot-tool."""

    title, generated = "proxmox-boot-tool with systemd-boot", "the entries on a partition of proxmox-boot-tool"
    generator = "proxmox-boot-tool refresh"
    # get_first_line in zz-proxmox-boot
    first_line_only = True

    def kernels(self) -> Kernels:
        found = []
        for _kind, text in proxmox_partitions(self.root, self.run):
            for entry in re.split(r"^--- .*$", text, flags=re.MULTILINE)[1:]:
                options = entry_options(entry)
                if options is None:
                    return None
                found.append([options])
        return found

    def generate(self) -> tuple[int, str]:
        return Loader.generate(self)


def proxmox_partitions(root: Path, run: Run) -> list[tuple[str, str]]:
    """Which loader is on each partition of proxmox-boot-tool, and its configuration; ("", "") for one that is not read.

    Partitions that are not there are passed over by the tool, too.
    """
    found = []
    for uuid in (read_text(root / PROXMOX_PARTITIONS) or "").split():
        device = root / "dev/disk/by-uuid" / uuid
        if not device.exists():
            continue
        words = ["unshare", "--mount", "sh", "-c", PROXMOX_READ, "sh"]
        status, output, _errors = run([*words, str(device), str(root / "mnt"), str(root / "sys/firmware/efi")])
        kind, _newline, text = output.partition("\n")
        found.append(("", "") if status else (kind, text))
    return found


def efi_text(root: Path, name: str) -> Optional[str]:
    """A variable of the Boot Loader Interface; None where it is not set."""
    try:
        return (root / EFI_VARIABLES / f"{name}-{LOADER_INTERFACE}").read_bytes()[4:].decode("utf-16-le").rstrip("\0")
    except (OSError, UnicodeDecodeError):
        return None


def find_loader(root: Path, run: Run, name: str) -> Optional[Loader]:
    """The loader that boots this machine; None where it is none of these."""
    if read_text(root / PROXMOX_PARTITIONS):
        kinds = {kind for kind, _text in proxmox_partitions(root, run)}
        if kinds == {"systemd-boot"}:
            return ProxmoxSystemdBoot(root, run, name)
        return ProxmoxGrub(root, run, name) if kinds == {"GRUB"} else None
    told = efi_text(root, "LoaderInfo")
    # A unified kernel image has its command line within.
    if efi_text(root, "StubInfo") is not None:
        return None
    grub = (root / Grub.generated.lstrip("/")).exists()
    if told is not None and told.startswith("systemd-boot"):
        return SystemdBoot(root, run, name)
    # GRUB tells its name since 2.12 only.
    return Grub(root, run, name) if grub and (told is None or told.startswith("GRUB")) else None


def unknown_problem(root: Path, words: Optional[str], stale: list[str]) -> str:
    """One sentence on what to change by hand."""
    change = f"add {words} to" if words else f"take {', '.join(stale)} out of"
    if read_text(root / PROXMOX_PARTITIONS):
        return (
            f"The partitions in /{PROXMOX_PARTITIONS} cannot all be read, or boot in different ways: see "
            f"proxmox-boot-tool status, {change} /etc/kernel/cmdline (systemd-boot) or GRUB_CMDLINE_LINUX in "
            "/etc/default/grub (GRUB), and run proxmox-boot-tool refresh."
        )
    if efi_text(root, "StubInfo") is not None:
        return (
            f"This machine boots a unified kernel image, which has its command line within: {change} "
            "/etc/kernel/cmdline, build the image again, and restart the tower."
        )
    found = [f"/{name}" for name in OTHER_FILES if (root / name).exists()]
    return (
        "What boots this machine is neither GRUB nor systemd-boot nor proxmox-boot-tool: "
        f"{change} the command line of the kernel in {found[0] if found else 'what starts it'}, and restart the tower."
    )
