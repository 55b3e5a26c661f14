# SPDX-License-Identifier: MIT
"""Machines that boot in one of several ways: a tree of their files, and doubles of the programs that work on them.

The doubles do with the files what the real ones do (grub-mkconfig 2.06, systemd 252's 90-loaderentry.install, and
zz-proxmox-boot of proxmox-kernel-helper 8.1), and have their faults: a file ``fault`` in the tree says which.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from plugins.modules import kernel_command_line
from tests.run_module import run_module

KERNELS = ("6.1.0-28-amd64", "6.1.0-42-amd64")
ROOT_WORDS = "root=UUID=1b2c-3d ro quiet"
NAME = "llamatower-hugepages"
WORDS = "hugepagesz=1G hugepages=0:150,1:150"
PARTITIONS = ("1A2B-3C4D", "5E6F-7081")
EFI = "sys/firmware/efi/efivars"
LOADER_INTERFACE = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

# As grub-mkconfig: beside, then copied into the old file.
UPDATE_GRUB = """\
#!/bin/sh
set -e
echo "$0" >> "$TREE/ran"
cfg="${GRUB_CFG:-$TREE/boot/grub/grub.cfg}"
. "$TREE/etc/default/grub"
for each in "$TREE"/etc/default/grub.d/*.cfg; do [ ! -e "$each" ] || . "$each"; done
fault=$(cat "$TREE/fault" 2>/dev/null || true)
{
  printf '### BEGIN /etc/grub.d/00_header ###\\nset timeout=5\\n### END /etc/grub.d/00_header ###\\n'
  printf '\\n### BEGIN /etc/grub.d/10_linux ###\\n'
  [ "$fault" != full ] || { echo 'write error: No space left on device' >&2; exit 1; }
  for image in "$TREE"/boot/vmlinuz-*; do
    printf "menuentry 'Debian' {\\n\\techo\\t'Loading'\\n"
    printf '\\tlinux\\t/boot/%s root=UUID=1b2c-3d ro %s\\n}\\n' "${image##*/}" \\
      "$GRUB_CMDLINE_LINUX $GRUB_CMDLINE_LINUX_DEFAULT"
    printf "menuentry 'Debian (recovery mode)' {\\n"
    printf '\\tlinux\\t/boot/%s root=UUID=1b2c-3d ro %s\\n}\\n' "${image##*/}" "single $GRUB_CMDLINE_LINUX"
  done
  printf '### END /etc/grub.d/10_linux ###\\n\\n### BEGIN /etc/grub.d/30_os-prober ###\\n'
  printf "menuentry 'Other' {\\n\\tlinux /vmlinuz root=/dev/sdb1\\n}\\n"
  printf '### END /etc/grub.d/30_os-prober ###\\n'
} > "$cfg.new"
if [ "$fault" = cut ]; then
  head -c 150 "$cfg.new" > "$cfg"
  echo "cat: write error: No space left on device" >&2
  exit 1
fi
cat "$cfg.new" > "$cfg"
rm -f "$cfg.new"
"""
KERNEL_INSTALL = """\
#!/bin/sh
set -e
echo "$0" >> "$TREE/ran"
[ "$1" = add ] && [ -n "$3" ]
[ "$(cat "$TREE/fault" 2>/dev/null)" != full ] || {
  echo "Error: could not copy '$3' to '/boot/efi/0123/$2/linux'." >&2; exit 1
}
if [ -f "$TREE/etc/kernel/cmdline" ]; then
  options=$(tr -s ' \\t\\n' ' ' < "$TREE/etc/kernel/cmdline")
else
  options=$(tr -s ' \\t\\n' '\\n' < "$TREE/proc/cmdline" | grep -ve '^BOOT_IMAGE=' -e '^initrd=' | tr '\\n' ' ')
fi
mkdir -p "$TREE/boot/efi/loader/entries"
options="${options% } systemd.machine_id=0123"
printf 'title Debian\\nversion %s\\noptions %s\\nlinux /0123/%s/linux\\n' "$2" "$options" "$2" \\
  > "$TREE/boot/efi/loader/entries/0123-$2.conf"
"""
BOOTCTL = """\
#!/bin/sh
case $1 in --print-*-path) echo /boot/efi;; *) exit 1;; esac
"""
# A partition that cannot be mounted is passed over, and the program ends with 0 all the same.
PROXMOX_BOOT_TOOL = """\
#!/bin/sh
set -e
[ "$1" = refresh ]
echo "$0" >> "$TREE/ran"
first=$(head -n1 "$TREE/etc/kernel/cmdline" 2>/dev/null || true)
while read -r uuid; do
  esp="$TREE/dev/disk/by-uuid/$uuid"
  [ -e "$esp" ] || { echo "WARN: $esp does not exist - clean it! - skipping" >&2; continue; }
  if [ "$(cat "$TREE/fault" 2>/dev/null)" = "$uuid" ]; then echo "mount of $esp failed - skipping" >&2; continue; fi
  if [ -d "$TREE/sys/firmware/efi" ] && [ ! -e "$esp/EFI/proxmox/grubx64.efi" ]; then
    echo "$first" | grep -q root= || { echo "No root= parameter in /etc/kernel/cmdline found!" >&2; exit 1; }
    for image in "$TREE"/boot/vmlinuz-*; do
      version=${image##*/vmlinuz-}
      printf 'title Proxmox\\nversion %s\\noptions  %s\\nlinux /vmlinuz-%s\\n' "$version" "$first" "$version" \\
        > "$esp/loader/entries/proxmox-$version.conf"
    done
  else
    GRUB_CFG="$esp/grub/grub.cfg" update-grub
  fi
done < "$TREE/etc/kernel/proxmox-boot-uuids"
"""
# Instead of a name space with a file system in it: a copy of the partition, which goes away with the command.
UNSHARE = """\
#!/bin/sh
shift
"$@"
status=$?
rm -rf "$TREE/mnt" && mkdir "$TREE/mnt"
exit $status
"""
MOUNT = """\
#!/bin/sh
[ "$1 $2 $3 $4" = "-t vfat -o ro" ] || { echo "not so: $*" >&2; exit 1; }
cp -r "$5/." "$6"
"""


class BootMachine:
    """A machine below ``tree``, which boots by ``kind`` and whose running kernel has none of the words."""

    def __init__(self, kind: str, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kind, self.tree, self.monkeypatch = kind, tree, monkeypatch
        for name in ("boot", "etc/kernel", "proc", "mnt", "bin"):
            (tree / name).mkdir(parents=True)
        for version in KERNELS:
            (tree / f"boot/vmlinuz-{version}").touch()
        (tree / "proc/cmdline").write_text(f"BOOT_IMAGE=/boot/vmlinuz {ROOT_WORDS}\n")
        programs = {"unshare": UNSHARE, "mount": MOUNT}
        if "grub" in kind:
            programs["update-grub"] = UPDATE_GRUB
            (tree / "etc/default/grub.d").mkdir(parents=True)
            (tree / "etc/default/grub").write_text('GRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX=""\n')
            (tree / "boot/grub").mkdir()
        if kind == "systemd-boot":
            programs |= {"kernel-install": KERNEL_INSTALL, "bootctl": BOOTCTL}
            self.efi("LoaderInfo", "systemd-boot 252.39-1~deb12u2")
        if kind.startswith("proxmox"):
            programs["proxmox-boot-tool"] = PROXMOX_BOOT_TOOL
            (tree / "etc/kernel/proxmox-boot-uuids").write_text("\n".join(PARTITIONS) + "\n")
            for uuid in PARTITIONS:
                (tree / "dev/disk/by-uuid" / uuid / "grub").mkdir(parents=True)
                (tree / "dev/disk/by-uuid" / uuid / "loader/entries").mkdir(parents=True)
            if kind == "proxmox systemd-boot":
                self.efi("LoaderInfo", "systemd-boot 255.4-1~bpo12+1")
                (tree / "etc/kernel/cmdline").write_text(f"{ROOT_WORDS}\n")
        for name, text in programs.items():
            (tree / "bin" / name).write_text(text)
            (tree / "bin" / name).chmod(0o755)
        monkeypatch.setenv("TREE", str(tree))
        monkeypatch.setenv("PATH", f"{tree / 'bin'}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(kernel_command_line, "ROOT", tree)
        self.generate()
        self.runs()

    def efi(self, name: str, text: str) -> None:
        """Set a variable of the Boot Loader Interface, as the firmware keeps it."""
        (self.tree / EFI).mkdir(parents=True, exist_ok=True)
        content = b"\x06\0\0\0" + f"{text}\0".encode("utf-16-le")
        (self.tree / EFI / f"{name}-{LOADER_INTERFACE}").write_bytes(content)

    def generate(self) -> None:
        """Make what is booted, as an update of the kernel does."""
        commands = {
            "grub": [["update-grub"]],
            "systemd-boot": [["kernel-install", "add", version, f"/boot/vmlinuz-{version}"] for version in KERNELS],
        }
        tool = [["proxmox-boot-tool", "refresh"]] if self.kind.startswith("proxmox") else []
        for command in commands.get(self.kind, tool):
            subprocess.run(command, check=True, capture_output=True)

    def fault(self, name: str) -> None:
        (self.tree / "fault").write_text(name)

    def mended(self) -> None:
        (self.tree / "fault").unlink()

    def started(self, command_line: str) -> None:
        """Have the running kernel started with these words."""
        (self.tree / "proc/cmdline").write_text(f"BOOT_IMAGE=/boot/vmlinuz {command_line}\n")

    def runs(self) -> int:
        """How often a generator was run since this was asked."""
        path = self.tree / "ran"
        count = len(path.read_text().splitlines()) if path.exists() else 0
        path.unlink(missing_ok=True)
        return count

    def text(self, path: str) -> str | None:
        file = self.tree / path
        return file.read_text() if file.exists() else None

    def command(self, words: str | None = WORDS, **options: Any) -> dict[str, Any]:
        """Run the module: with words to have, or with None to have none."""
        if words is None:
            return run_module("kernel_command_line", name=NAME, state="absent", **options)
        return run_module("kernel_command_line", name=NAME, words=words, **options)

    def next(self) -> list[str]:
        """The command lines that the loader has, by the module that tells."""
        told = run_module("kernel_command_line_info", root=str(self.tree))["kernel_command_line"]
        return list(told["next"] or [])

    def files(self) -> dict[str, str]:
        """All that is kept of how this machine boots."""
        directories = ("etc", "boot", "dev")
        paths = [path for name in directories for path in sorted((self.tree / name).rglob("*")) if path.is_file()]
        return {str(path.relative_to(self.tree)): path.read_text() for path in paths}
