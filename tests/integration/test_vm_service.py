# SPDX-License-Identifier: MIT
"""The unit of the server: what it may do, starts and placements that are wrong; and the wrapper for other commands.

Servers that hang, die or cannot start are in test_container_service.py.
"""

from __future__ import annotations

import json
import os
import re

from tests.integration.unproven import without_numactl
from tests.integration.vm_site import (
    DEPLOYMENTS,
    MODEL,
    UNIT,
    Site,
    cache_on_one_node,
    last_words,
    pid,
    restart,
)
from tests.waiting import wait_until


def test_a_start_outside_of_the_preparation_is_a_warning_or_fails_with_the_sentence(site: Site) -> None:
    intent = f"{DEPLOYMENTS}/current/deployment.json"
    context = json.loads(site.ssh(f"sudo cat {intent}"))["context"]
    with without_numactl(site, context):
        assert restart(site) == "", last_words(site)
        assert re.search("has the policy default.* serves all the same", last_words(site))
        site.ssh(f"sudo cp -p {intent} {intent}.before; sudo sed -i '/placement_failure/s/warn/fail/' {intent}")
        assert "FAILED" in restart(site)
        assert "has the policy default" in last_words(site)
        assert site.ssh(f"systemctl is-failed {UNIT}") == "failed"
        site.ssh(f"sudo cp -p {intent}.before {intent}; sudo rm {intent}.before")
    assert restart(site) == "", last_words(site)


def test_memory_that_wanders_is_reported_by_the_timer(site: Site) -> None:
    record = "/var/lib/llama-server/main.json"
    process = pid(site)
    site.ssh(f"sudo migratepages {process} 0 1; sudo rm -f /run/llama-server/main.json {record}")
    wait_until(lambda: not site.tower.fails(f"sudo test -s {record}"), "the timer has recorded the placement", 180)
    found = json.loads(site.ssh(f"sudo cat {record}"))
    assert "not spread evenly" in found["problem"]
    assert found["pid"] == process
    assert "not spread evenly" in last_words(site, "llama-server-check@main.service")
    assert restart(site) == ""


PROBE = r"""
import ctypes, json, mmap, os, socket
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
size = 64 << 20
address = libc.mmap(None, size, 3, 0x22, -1, 0)
def call(*arguments):
    ctypes.set_errno(0)
    return "ok" if libc.syscall(*arguments) >= 0 else os.strerror(ctypes.get_errno())
def attempt(function, *arguments):
    try:
        function(*arguments)
        return "ok"
    except OSError as error:
        return error.strerror
mask = (ctypes.c_ulong * 2)(3, 0)
pages = libc.mmap(None, 2 << 20, 3, 0x40022, -1, 0)
print(json.dumps({
    "mlock": call(149, ctypes.c_void_p(address), ctypes.c_ulong(size)),
    "set_mempolicy": call(238, 3, mask, 65),
    "mbind": call(237, ctypes.c_void_p(address), ctypes.c_ulong(size), 3, mask, 65, 0),
    "sched_setaffinity": attempt(os.sched_setaffinity, 0, {0}),
    "madvise_huge": call(28, ctypes.c_void_p(address), ctypes.c_ulong(size), 14),
    "map_hugetlb": "ok" if pages != ctypes.c_void_p(-1).value else os.strerror(ctypes.get_errno()),
    "write_etc": attempt(open, "/var/lib/llamatower/written", "w"),
    "write_model": attempt(open, "/var/lib/llama-models/written", "w"),
    "write_home": attempt(open, "/root/written", "w"),
    "namespace": call(272, 0x10000000),
    "ptrace": call(101, 0, 0, 0, 0),
    "packet": attempt(socket.socket, 17, socket.SOCK_RAW),
    "unix": attempt(socket.socket, socket.AF_UNIX),
    "netlink": attempt(socket.socket, 16, socket.SOCK_RAW),
    "code": attempt(mmap.mmap, -1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7),
}))
"""


# The real unit with another program: everything else stays.
PROBE_UNIT = """
[Service]
Type=oneshot
Restart=no
ExecStartPre=
ExecStartPost=
ExecStart=
ExecStart=/usr/bin/numactl --interleave=0-1 /usr/bin/python3 /opt/probe.py
"""


def test_the_sandbox_lets_inference_do_what_it_needs_and_nothing_else(site: Site) -> None:
    exposure = site.ssh("systemd-analyze security llama-server@main --no-pager | tail -n 1")
    assert float(re.findall(r"\d+\.\d+", exposure)[0]) <= 1.2
    drop_in = "/etc/systemd/system/llama-server@probe.service.d/probe.conf"
    site.ssh(f"sudo tee /opt/probe.py > /dev/null <<'END'\n{PROBE}\nEND")
    site.ssh(f"sudo mkdir -p {os.path.dirname(drop_in)}; sudo tee {drop_in} > /dev/null <<'END'\n{PROBE_UNIT}\nEND")
    site.ssh("sudo sysctl --quiet vm.nr_hugepages=4")
    site.ssh("sudo systemctl daemon-reload; sudo systemctl start llama-server@probe || true")
    said = last_words(site, "llama-server@probe.service")
    site.ssh(f"sudo rm -rf {os.path.dirname(drop_in)} /opt/probe.py")
    site.ssh("sudo systemctl daemon-reload; sudo systemctl reset-failed; sudo sysctl --quiet vm.nr_hugepages=0")
    found = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    needed = {"mlock", "set_mempolicy", "mbind", "sched_setaffinity", "madvise_huge", "map_hugetlb"}
    assert {name for name, outcome in found.items() if outcome == "ok"} == needed, found


def test_the_wrapper_runs_any_command_over_the_nodes_and_warns_of_a_cached_file(site: Site) -> None:
    cache_on_one_node(site)
    said = site.ssh(f"sudo interleave grep -a -c --max-count=1 ^ {MODEL} 2>&1")
    assert re.search(r"interleave: \d+% of the cached pages of \S+ are on node 0 and will stay there", said)
    assert "interleave:0-1" in site.ssh("interleave cat /proc/self/numa_maps | head -n 3")
