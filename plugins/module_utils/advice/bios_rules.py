# SPDX-License-Identifier: MIT
"""What the BIOS seems to be set to, judged from the running system, and what to change.

The rules are data (catalog/bios.yml). A rule has conditions over the facts below, one sentence each::

    when: [machine is real, cpu is AMD, "nps in 2, 4"]

Operators are ``is``, ``is not``, ``in``, ``>``, ``<``, ``contains`` and, after a name alone, ``is known`` and
``is unknown``. All conditions must hold, and no comparison holds for a fact that is unknown: what Linux does not show
is never claimed. Facts, settings and sentences are checked by ``rule_problems`` before they are used.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any, Optional

from ..memory.cpus import ccd_links, cpu_memory
from ..sysfs import parse_cpu_list
from ..text import LABEL, WIDTH, wrapped

SEVERITIES = ("problem", "advice", "info")
NOT_VISIBLE = "not visible from Linux"

# What a condition and a {placeholder} can name; a fact that Linux does not show is None.
FACTS = {
    "machine": "real, guest or container",
    "architecture": "as uname -m says it",
    "cpu": "AMD, Intel, ARM or other",
    "cpu_name": "brand of the CPU",
    "cpu_kind": "its row in cpu_memory.py, such as EPYC 9004 (Genoa); other where it is in none",
    "server": "yes where its boards are servers' or workstations'",
    "fabric": "generation of the fabric of an EPYC or Threadripper that has the NPS setting: zen2 to zen5",
    "sockets": "CPU packages",
    "cpus": "logical CPUs online",
    "cores": "physical cores online",
    "smt": "on, off, or none where the CPU has none",
    "nodes": "all memory nodes of Linux",
    "nodes_per_socket": "nodes with CPUs in each socket; 0 where one node spans the sockets",
    "empty_nodes": "nodes with CPUs and without memory",
    "memory_only_nodes": "nodes with memory and without CPUs",
    "distances": "distances of the SLIT, each once: in a node, in a socket, beyond",
    "l3_per_socket": "L3 caches of each socket",
    "l3_as_numa": "yes where the nodes are L3 caches, no where they are not, unknown where both fit",
    "nps": "nodes per socket where they are those of AMD's NPS setting: not of guests, nor with a numa_option",
    "command_line": "of the kernel",
    "numa_option": "off or fake where numa= or acpi= of the kernel command line hides or makes up nodes, else none",
    "frequency_mode": "active where the CPU picks its clocks by a preference, passive where Linux does",
    "frequency_driver": "cpufreq driver",
    "hwp": "yes or no: hardware P-states of Intel, which Linux uses unless intel_pstate=no_hwp",
    "governor": "governors in use",
    "governors": "governors the driver has",
    "epp": "energy/performance preferences in use",
    "boost": "on or off",
    "iommu": "on or off",
    "x2apic": "yes or no",
    "fabric_mhz": "clock of the data fabric now, by HSMP",
    "configured_mts": "the slowest DIMM's speed, MT/s",
    "rated_mts": "the fastest DIMM's rating, MT/s",
    "channels": "channels of all CPUs",
    "channels_populated": "channels with a DIMM",
    "memory_advice": "codes of what memory_channels_info advises",
}

# Names of boards, systems and firmware -> the column of menus; the first that fits.
VENDORS = (
    ("dell", r"Dell"),
    ("hpe", r"HPE|Hewlett"),
    ("lenovo", r"Lenovo"),
    ("supermicro", r"Supermicro|Super Micro"),
    ("gigabyte", r"Giga ?-?byte|Giga Computing"),
    ("asus", r"ASUS"),
    ("ami", r"American Megatrends|AMI\b"),
)

CONDITION = re.compile(r"(?P<fact>\w+) (?P<operator>is not|is|in|contains|>|<) (?P<value>.+)")
PLACEHOLDER = re.compile(r"\{(\w+)\}")
# Distances that AMD's firmware gives by default to L3 caches of one interleaved domain, and to NPS quarters of a
# socket (its own help text of "ACPI SLIT Distance Control").
SLIT_L3, SLIT_QUARTER = 11, 12


def _has(command_line: Optional[str], *options: str) -> bool:
    """Whether the kernel command line has a word that begins with one of these; what follows ``--`` is for init."""
    return any(word.startswith(options) for word in (command_line or "").split(" -- ")[0].split())


def _option(command_line: Optional[str]) -> Optional[str]:
    """What the kernel command line makes of the nodes: ``off``, ``fake`` or ``none``, which is nothing.

    ``acpi=off`` and ``numa=noacpi`` hide the nodes as ``numa=off`` does; ``numa=nohmat`` leaves them as they are. Linux
    reads each of several such words.
    """
    if command_line is None:
        return None
    words = command_line.split(" -- ")[0].split()
    if {"acpi=off", "numa=off", "numa=noacpi"} & set(words):
        return "off"
    return "fake" if _has(command_line, "numa=fake=") else "none"


def _within_socket(tower: dict[str, Any], l3: list[dict[str, Any]]) -> Optional[set[int]]:
    """Distances between different nodes of one socket; None where the table is not whole."""
    package = {cpu: cache["package"] for cache in l3 for cpu in parse_cpu_list(cache["cpus"])}
    nodes = [node for node in tower["nodes"] if node["cpus"]]
    if any(len(node["distances"]) != len(tower["nodes"]) for node in nodes):
        return None
    order = {node["node"]: index for index, node in enumerate(tower["nodes"])}
    return {
        node["distances"][order[other["node"]]]
        for node in nodes
        for other in nodes
        if node is not other and package[node["cpus"][0]] == package[other["cpus"][0]]
    }


def _l3_as_numa(tower: dict[str, Any]) -> Optional[str]:
    """Whether the nodes are L3 caches. NPS4 of a CPU with four of them looks the same but for the distances."""
    l3, per_socket = tower["l3"], tower["nodes_per_socket"]
    if per_socket is not None and per_socket < 2:
        return "no"
    if not l3 or per_socket is None:
        return None
    caches = {frozenset(parse_cpu_list(cache["cpus"])) for cache in l3}
    if {frozenset(node["cpus"]) for node in tower["nodes"] if node["cpus"]} != caches:
        return "no"
    if per_socket not in (2, 4):
        return "yes"
    distances = _within_socket(tower, l3)
    return {SLIT_L3: "yes", SLIT_QUARTER: "no"}.get(distances.pop()) if distances and len(distances) == 1 else None


def _l3_per_socket(tower: dict[str, Any]) -> Optional[int]:
    counts: dict[Any, int] = {}
    for cache in tower["l3"] or []:
        counts[cache["package"]] = counts.get(cache["package"], 0) + 1
    return counts.popitem()[1] if len(set(counts.values())) == 1 else None


def _empty_nodes(tower: dict[str, Any]) -> Optional[int]:
    """Nodes that have CPUs and no memory; None unless the nodes make up the memory of the machine.

    ``mem=`` and ``memmap=`` on the kernel command line take memory from nodes that have DIMMs.
    """
    total = sum(node["memory_bytes"] for node in tower["nodes"])
    if _has(tower["command_line"], "mem=", "memmap="):
        return None
    if not tower["memory_bytes"] or total < 0.995 * tower["memory_bytes"]:
        return None
    return sum(1 for node in tower["nodes"] if node["cpus"] and not node["memory_bytes"])


def _memory_only_nodes(tower: dict[str, Any]) -> Optional[int]:
    """Nodes that have memory and no CPUs; None where CPUs are offline, or left out by the kernel command line."""
    if tower["nodes_per_socket"] is None or _has(tower["command_line"], "nr_cpus=", "maxcpus=", "nosmp"):
        return None
    return sum(1 for node in tower["nodes"] if node["memory_bytes"] and not node["cpus"])


def _cpu(tower: dict[str, Any]) -> Optional[str]:
    names = {"AuthenticAMD": "AMD", "GenuineIntel": "Intel"}
    vendor = tower["cpu"]["vendor"]
    if vendor in names:
        return names[vendor]
    return "ARM" if (tower["architecture"] or "").startswith(("aarch64", "arm")) else vendor and "other"


def _hwp(tower: dict[str, Any]) -> Optional[str]:
    if _cpu(tower) != "Intel" or not tower["cpu"]["flags"]:
        return None
    return "yes" if "hwp" in tower["cpu"]["flags"] and not _has(tower["command_line"], "intel_pstate=no_hwp") else "no"


def _memory_facts(channels: Optional[dict[str, Any]]) -> dict[str, Any]:
    """What memory_channels_info says; a sum is None where a part of it is."""
    channels = channels or {}
    dimms = [dimm for dimm in channels.get("dimms") or [] if dimm["populated"]]
    sockets = [socket for socket in channels.get("sockets") or [] if socket["populated"]]

    def total(key: str) -> Optional[int]:
        values = [socket[key] for socket in sockets]
        return sum(values) if values and None not in values else None

    return {
        "configured_mts": min((dimm["configured_mts"] for dimm in dimms if dimm["configured_mts"]), default=None),
        "rated_mts": max((dimm["rated_mts"] for dimm in dimms if dimm["rated_mts"]), default=None),
        "channels": total("channels_total"),
        "channels_populated": total("channels_populated"),
        "memory_advice": ",".join(entry["code"] for entry in channels.get("advice") or []) or None,
    }


def facts(tower: dict[str, Any], channels: Optional[dict[str, Any]] = None) -> dict[str, Any]:
    """The facts that FACTS names, from what tower_info and memory_channels_info return."""
    cpu, brand = tower["cpu"], tower["cpu"]["model"]
    memory = cpu_memory(brand or "", cpu["family"], cpu["model_number"])
    links = ccd_links(cpu["family"], cpu["model_number"], brand or "") if _cpu(tower) == "AMD" else None
    guest = {True: "guest", False: "real", None: None}[tower["hypervisor"]]
    l3_as_numa, per_socket = _l3_as_numa(tower), tower["nodes_per_socket"]
    numa_option = _option(tower["command_line"])
    by_firmware = numa_option == "none" and guest != "guest"
    frequency, hsmp, iommu = tower["frequency"] or {}, tower["hsmp"] or {}, tower["iommu"]
    driver = frequency.get("driver")
    control = tower["smt_control"]
    found = {
        "machine": "container" if tower["container"] else guest,
        "architecture": tower["architecture"],
        "cpu": _cpu(tower),
        "cpu_name": brand,
        "cpu_kind": memory.name if memory else "other" if brand else None,
        "server": ("yes" if memory.server else "no") if memory else None,
        "fabric": links[0] if links else None,
        "sockets": tower["sockets"],
        "cpus": tower["cpus"],
        "cores": tower["cores"],
        "smt": "none" if control in ("notsupported", "notimplemented") else _switch(tower["smt_active"]),
        "nodes": len(tower["nodes"]) or None,
        "nodes_per_socket": per_socket,
        "empty_nodes": _empty_nodes(tower),
        "memory_only_nodes": _memory_only_nodes(tower),
        "distances": ", ".join(map(str, sorted({way for node in tower["nodes"] for way in node["distances"]}))) or None,
        "l3_per_socket": _l3_per_socket(tower),
        "l3_as_numa": l3_as_numa,
        "nps": per_socket if links and l3_as_numa == "no" and by_firmware else None,
        "command_line": tower["command_line"],
        "numa_option": numa_option,
        "frequency_mode": driver and ("active" if driver in ("intel_pstate", "amd-pstate-epp") else "passive"),
        "frequency_driver": driver,
        "hwp": _hwp(tower),
        "governor": frequency.get("governor"),
        "governors": ",".join(frequency.get("governors") or []) or None,
        "epp": frequency.get("energy_performance_preference"),
        "boost": _switch(frequency.get("boost")),
        "iommu": _switch(bool(iommu["units"]) if iommu else None),
        "x2apic": {True: "yes", False: "no", None: None}[tower["x2apic"]],
        "fabric_mhz": ", ".join(str(value) for value in hsmp.get("fabric_mhz") or [] if value) or None,
        **_memory_facts(channels),
    }
    assert found.keys() == FACTS.keys()
    return found


def _switch(value: Optional[bool]) -> Optional[str]:
    return {True: "on", False: "off", None: None}[value]


def vendor_of(tower: dict[str, Any]) -> Optional[str]:
    """Whose menus the machine has, as a key of VENDORS; the maker of the board before that of its firmware."""
    for part in (tower["system"]["vendor"], tower["board"]["vendor"], tower["bios"]["vendor"]):
        for name, pattern in VENDORS:
            if re.search(pattern, part or "", re.I):
                return name
    return None


def holds(condition: str, known: dict[str, Any]) -> bool:
    """Whether a condition is true of the facts. Nothing but ``is unknown`` is true of an unknown one."""
    match = CONDITION.fullmatch(condition)
    if not match:
        raise ValueError(f"{condition!r} is no condition: write a fact, an operator and a value, as in nodes > 8.")
    have, operator, value = known[match["fact"]], match["operator"], match["value"]
    if operator == "is" and value in ("known", "unknown"):
        return (have is None) == (value == "unknown")
    if have is None:
        return False
    if operator in (">", "<"):
        return float(have) > float(value) if operator == ">" else float(have) < float(value)
    if operator == "contains":
        return value in str(have).split(",")
    among = [part.strip() for part in value.split(",")] if operator == "in" else [value]
    return (str(have) in among) != (operator == "is not")


def _filled(text: Optional[str], known: dict[str, Any]) -> Optional[str]:
    return PLACEHOLDER.sub(lambda match: str(known[match[1]]), text) if text else text


def _words(text: Optional[str]) -> Optional[str]:
    return " ".join(text.split()) if text else None


def rule_problems(table: dict[str, Any]) -> list[str]:
    """What is wrong with a table of rules, a sentence each: an empty list is a good table."""
    settings = table.get("settings") or {}
    problems = []
    required = {"code", "severity", "when", "message", "fix", "why", "source"}
    optional = {"setting", "current", "recommended", "worth"}
    codes = [rule.get("code") for rule in table.get("rules") or []]
    for rule in table.get("rules") or []:
        name = f"Rule {rule.get('code')!r}"
        for key in sorted(required - rule.keys()):
            problems.append(f"{name} has no {key}.")
        for key in sorted(rule.keys() - required - optional):
            problems.append(f"{name} has {key}, which is none of {', '.join(sorted(required | optional))}.")
        if rule.get("severity") not in SEVERITIES:
            problems.append(f"{name}: its severity is none of {', '.join(SEVERITIES)}.")
        if codes.count(rule.get("code")) > 1:
            problems.append(f"{name} is there {codes.count(rule.get('code'))} times.")
        if rule.get("setting") and rule["setting"] not in settings:
            problems.append(f"{name}: there is no setting {rule['setting']}.")
        conditions = [str(condition) for condition in rule.get("when") or []]
        matches = [CONDITION.fullmatch(condition) for condition in conditions]
        for condition, match in zip(conditions, matches):
            if not match:
                problems.append(f"{name}: {condition!r} is not a fact, an operator and a value.")
            elif match["operator"] in "><" and not re.fullmatch(r"\d+(\.\d+)?", match["value"]):
                problems.append(f"{name}: {condition!r} compares with what is no number.")
        # A sentence may only name what a condition has made sure of.
        sure = {match["fact"] for match in matches if match and match["value"] != "unknown"}
        named = {match["fact"] for match in matches if match}
        told = {key: rule.get(key) for key in ("message", "fix", "current", "recommended", "worth")}
        for key, text in told.items():
            for fact in PLACEHOLDER.findall(str(text or "")):
                named.add(fact)
                if fact in FACTS and fact not in sure:
                    problems.append(f"{name}: its {key} names {{{fact}}}, which no condition makes sure of.")
        problems += [f"{name}: there is no fact {fact}." for fact in sorted(named - FACTS.keys())]
    return problems


def advise(
    tower: dict[str, Any], channels: Optional[dict[str, Any]], table: dict[str, Any], most: str = "info"
) -> list[dict[str, Any]]:
    """What to change, the most severe first; the advice of memory_channels_info is among it.

    Each has severity, code, message, fix, gb_s (where the memory says what it costs), current, recommended, why,
    source, where (menu and names on this vendor's boards) and worth; those that nobody knows are None. ``most`` leaves
    out what is less severe. Raises ValueError for a table that is wrong.
    """
    problems = rule_problems(table)
    if problems:
        raise ValueError(" ".join(problems))
    known, vendor = facts(tower, channels), vendor_of(tower)
    settings = table.get("settings") or {}
    explained = table.get("memory") or {}
    found = []
    for entry in (channels or {}).get("advice") or []:
        about = explained.get(entry["code"]) or {}
        cost = entry.get("gb_s")
        # What is only told, such as DIMMs faster than their CPU, has nothing to set.
        mend = about if entry["severity"] != "info" else {}
        found.append(
            {key: entry.get(key) for key in ("severity", "code", "message", "fix", "gb_s")}
            | {
                "current": entry["message"],
                "recommended": mend.get("recommended"),
                "why": _words(about.get("why")),
                "source": about.get("source"),
                "where": _where(settings.get(mend.get("setting")), vendor),
                "worth": f"{cost:.1f} GB/s" if cost else None,
            }
        )
    for rule in table.get("rules") or []:
        if all(holds(str(condition), known) for condition in rule["when"]):
            found.append(
                {
                    "severity": rule["severity"],
                    "code": rule["code"],
                    "message": _words(_filled(rule["message"], known)),
                    "fix": _words(_filled(rule["fix"], known)),
                    "gb_s": None,
                    "current": _filled(rule.get("current"), known) or NOT_VISIBLE,
                    "recommended": _filled(rule.get("recommended"), known),
                    "why": _words(rule["why"]),
                    "source": rule["source"],
                    "where": _where(settings.get(rule.get("setting")), vendor),
                    "worth": _words(_filled(rule.get("worth"), known)),
                }
            )
    found = [entry for entry in found if SEVERITIES.index(entry["severity"]) <= SEVERITIES.index(most)]
    return sorted(found, key=lambda entry: (SEVERITIES.index(entry["severity"]), -(entry["gb_s"] or 0)))


def _where(setting: Optional[dict[str, Any]], vendor: Optional[str]) -> Optional[str]:
    """What this vendor calls a setting; what most call it where the vendor is unknown."""
    if not setting:
        return None
    return str((setting.get("where") or {}).get(vendor or "") or setting["name"])


def _seen(known: dict[str, Any]) -> list[str]:
    """All facts on the machine, as this module names them, and those that it does not show."""
    names = [name for name in FACTS if name != "memory_advice"]
    shown = [f"{name.replace('_', ' ')} {known[name]}" for name in names if known[name] is not None]
    unknown = [name.replace("_", " ") for name in names if known[name] is None]
    return wrapped("SEEN", "; ".join(shown)) + (wrapped("NOT SEEN", "; ".join(unknown)) if unknown else []) + [""]


def advice_text(
    found: list[dict[str, Any]],
    host: str,
    tower: Optional[dict[str, Any]] = None,
    channels: Optional[dict[str, Any]] = None,
) -> str:
    """The advice for a terminal, at most 80 columns; what cannot be seen is one list at the end.

    With what tower_info and memory_channels_info return, what Linux shows comes first.
    """
    lines = ["=" * WIDTH, host, "=" * WIDTH]
    lines += _seen(facts(tower, channels)) if tower else []
    unseen = [entry for entry in found if entry["current"] == NOT_VISIBLE and entry["recommended"]]
    for entry in (entry for entry in found if entry not in unseen):
        lines += wrapped(entry["severity"].upper(), entry["message"])
        lines += wrapped("", f"-> {entry['fix']}") if entry["fix"] else []
        for label in ("current", "recommended", "where", "why", "worth", "source"):
            if entry[label] and entry[label] != entry["message"]:
                lines += textwrap.wrap(
                    f"{label}: {entry[label]}", WIDTH, initial_indent=" " * LABEL, subsequent_indent=" " * (LABEL + 3)
                )
    if len(unseen) == len(found):
        lines += wrapped("OK", "Nothing to mend was found.")
    for index, entry in enumerate(unseen):
        lines += ["", *textwrap.wrap(f"Linux cannot see these; check them in the BIOS of {host}:", WIDTH)][
            : 2 * (not index)
        ]
        lines += textwrap.wrap(
            f"- {entry['where']}: {entry['recommended']}. {entry['why']} ({entry['source']})",
            WIDTH,
            subsequent_indent="  ",
        )
    return "\n".join(line.rstrip() for line in lines)
