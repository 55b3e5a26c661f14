# SPDX-License-Identifier: MIT
"""A pool of huge pages on the kernel command line, made by Debian's own update-grub, and restarts with consent.

The guest is started by QEMU with a kernel and a command line of its own, whatever GRUB has: what is shown is what comes
to grub.cfg, with room and without, and that a restart is proven.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.vm_site import Site

AT_BOOT: dict[str, Any] = {
    "hugepages_mode": "hugetlb",
    "hugepages_reserve": "boot",
    "hugepages_boot_consent": True,
    "hugepages_bytes": 64 * 2**20,
}
WORDS = "hugepagesz=2M hugepages=0:16,1:16"
DROP_IN, RECORD = "/etc/default/grub.d/llamatower-hugepages.cfg", "/etc/kernel/llamatower-hugepages.words.json"


@pytest.fixture
def grub(site: Site) -> Iterator[Site]:
    """GRUB's programs and two kernels, of which GRUB needs no more than that they are there, and a small /boot/grub."""
    site.ssh("sudo DEBIAN_FRONTEND=noninteractive apt-get -qq -y install grub2-common > /dev/null")
    site.ssh("for v in 1 2; do head -c 1000 /bin/ls | sudo tee /boot/vmlinuz-6.1.0-$v-amd64 > /dev/null; done")
    site.ssh("sudo mkdir -p /boot/grub; sudo mount -t tmpfs -o size=64k tmpfs /boot/grub; sudo update-grub 2>&1")
    yield site
    site.ssh("sudo umount /boot/grub; sudo rm -rf /boot/grub /boot/vmlinuz-6.1.0-?-amd64")
    site.ssh("sudo DEBIAN_FRONTEND=noninteractive apt-get -qq -y purge grub2-common grub-common > /dev/null")
    site.ssh(f"sudo rm -f {DROP_IN} {RECORD}")


def test_without_a_known_boot_loader_the_sentence_has_the_words(site: Site) -> None:
    run = site.playbook("playbooks/prepare.yml", **AT_BOOT)
    assert run.code != 0
    assert run.finds(f"neither GRUB nor systemd-boot nor proxmox-boot-tool: add {WORDS} to the command line"), (
        run.output
    )


def test_update_grub_that_had_no_room_is_run_again(grub: Site) -> None:
    before = grub.ssh("sudo sha256sum /boot/grub/grub.cfg")
    grub.ssh("sudo sh -c 'cat /dev/zero > /boot/grub/fill' 2> /dev/null || true")
    for _again in range(2):
        failed = grub.playbook("playbooks/prepare.yml", **AT_BOOT)
        assert failed.code != 0
        assert failed.finds(r"update-grub failed \(.*No space left on device"), failed.output
        assert grub.ssh("sudo sha256sum /boot/grub/grub.cfg") == before
    grub.ssh("sudo rm /boot/grub/fill")
    mended = grub.playbook("playbooks/prepare.yml", **AT_BOOT)
    assert mended.finds(f"not started with {WORDS}, which /boot/grub/grub.cfg has for the next one"), mended.output
    assert mended.recap("changed") == 1
    # One entry of its own, and one and a rescue for each kernel.
    assert grub.ssh(f"sudo grep -c '{WORDS}' /boot/grub/grub.cfg") == "5"
    assert grub.playbook("playbooks/prepare.yml", **AT_BOOT).changes() == []
    asked = grub.playbook("playbooks/reboot.yml")
    assert asked.code == 0
    assert asked.finds(rf"passed over without consent \(its kernel lacks {WORDS}"), asked.output
    assert grub.playbook("playbooks/prepare.yml").code == 0
    assert grub.ssh(f"sudo grep -c '{WORDS}' /boot/grub/grub.cfg || true") == "0"
    assert grub.ssh(f"ls {DROP_IN} {RECORD} 2> /dev/null || true") == ""
    assert grub.playbook("playbooks/prepare.yml").changes() == []


def test_a_restart_is_proven_by_an_answer(site: Site) -> None:
    before = site.ssh("cat /proc/sys/kernel/random/boot_id")
    run = site.playbook("playbooks/reboot.yml", reboot_consent=[site.tower.name], reboot_always=True, reboot_wait=600)
    assert run.code == 0, run.output
    assert site.ssh("cat /proc/sys/kernel/random/boot_id") != before
    assert site.healthy(), "the playbook waited for it"
