# SPDX-License-Identifier: MIT
"""What dmidecode prints, whichever release, whole and damaged."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugins.module_utils.memory.channels import describe
from plugins.module_utils.memory.smbios import SmbiosError
from plugins.module_utils.memory.smbios_text import read_dmidecode
from tests.boards.clock import counting
from tests.boards.mutations import MUTATIONS

TEXT = """\
# dmidecode 3.5
Handle 0x0001, DMI type 1, 27 bytes
System Information
	Manufacturer: Supermicro
	Product Name: Super Server

Handle 0x0004, DMI type 4, 48 bytes
Processor Information
	Socket Designation: CPU1
	Type: Central Processor
	Manufacturer: Intel(R) Corporation
	Signature: Type 0, Family 6, Model 143, Stepping 8
	Version: Intel(R) Xeon(R) Gold 6426Y
	Status: Populated, Enabled

Handle 0x0010, DMI type 16, 23 bytes
Physical Memory Array
	Use: System Memory
	Number Of Devices: 2

Handle 0x0011, DMI type 17, 92 bytes
Memory Device
	Array Handle: 0x0010
	Data Width: 64 bits
	Size: 32 {gib}
	Locator: DIMMA1
	Bank Locator: P0_Node0_Channel0_Dimm0
	Type: {type}
	Type Detail: Synchronous Registered (Buffered)
	Speed: 5600 {unit}
	Manufacturer: Micron
	Rank: 2
	{configured}: 4800 {unit}

Handle 0x0012, DMI type 17, 92 bytes
Memory Device
	Array Handle: 0x0010
	Size: {absent}
	Locator: DIMMB1
	Bank Locator: NO DIMM
"""


@pytest.mark.parametrize(
    "words",
    [
        {
            "gib": "GB",
            "unit": "MHz",
            "type": "DDR5",
            "configured": "Configured Clock Speed",
            "absent": "No Module Installed",
        },
        {
            "gib": "GB",
            "unit": "MT/s",
            "type": "<OUT OF SPEC>",
            "configured": "Configured Memory Speed",
            "absent": "No Module Installed",
        },
        {
            "gib": "GiB",
            "unit": "MT/s",
            "type": "DDR5",
            "configured": "Configured Memory Speed",
            "absent": "Not Installed",
        },
    ],
)
def test_every_release_of_dmidecode_reads_the_same(words: dict[str, str]) -> None:
    machine = read_dmidecode(TEXT.format(**words))
    first, second = machine.devices
    assert (first.size_bytes, first.type, first.rated_mts, first.configured_mts) == (32 * 2**30, "DDR5", 5600, 4800)
    assert (first.ranks, first.registered, first.data_width) == (2, True, 64)
    assert second.size_bytes == 0
    assert machine.processors[0].version == "Intel(R) Xeon(R) Gold 6426Y"


def test_text_that_lost_or_gained_indentation_is_the_same() -> None:
    words = {"gib": "GB", "unit": "MT/s", "type": "DDR5", "configured": "Configured Memory Speed", "absent": "0 MB"}
    text = TEXT.format(**words)
    quoted = "".join(f"    {line}\n" for line in text.splitlines())
    assert read_dmidecode(text.replace("\t", "")) == read_dmidecode(quoted) == read_dmidecode(text)


def test_numbers_of_any_length_are_no_traceback() -> None:
    words = {"gib": "GB", "unit": "9" * 5000, "type": "DDR5", "configured": "Speed", "absent": f"{'9' * 5000} GB"}
    assert read_dmidecode(TEXT.format(**words)).devices[1].size_bytes is None


def test_text_without_structures_is_one_clear_error() -> None:
    with pytest.raises(SmbiosError, match="DMI type"):
        read_dmidecode("dmidecode: command not found\n")


@settings(max_examples=min(MUTATIONS // 10, 20000), suppress_health_check=list(HealthCheck))
@given(st.text(max_size=2000) | st.text(alphabet="\tHandle 0x1,DMItyp17:\nSzeLocar", max_size=2000))
def test_any_text_ends_in_records_or_the_modules_own_error(text: str) -> None:
    with contextlib.suppress(SmbiosError):
        describe(read_dmidecode(f"Handle 0x0011, DMI type 17, 92 bytes\n{text}"), "dmidecode-text")


@pytest.mark.parametrize("line", ["\n", " \n", "a\n", " ", "Handle 0x0011, DMI type 17, 92 bytes\n", "\tLocator: A1\n"])
def test_megabytes_of_text_take_no_longer_than_a_machine(line: str) -> None:
    """No longer than counting to thirty million: the slowest took twelve. Line feeds took 130 before."""
    text = TEXT.format(gib="GB", unit="MHz", type="DDR5", configured="Speed", absent="0") + line * (2**23 // len(line))
    start = time.process_time()
    machine = read_dmidecode(text)
    assert time.process_time() - start < 30 * counting()
    assert len(machine.devices) <= 512
    assert any("the rest was left out" in warning for warning in machine.warnings)


def test_a_width_that_no_memory_has_is_none() -> None:
    """63,296 bits would be 989 channels."""
    words = {"gib": "GB", "unit": "MT/s", "type": "LPDDR5", "configured": "Speed", "absent": "0 MB"}
    machine = read_dmidecode(TEXT.format(**words).replace("Data Width: 64 bits", "Data Width: 63296 bits"))
    assert machine.devices[0].data_width is None
    wide = read_dmidecode(TEXT.format(**words).replace("Data Width: 64 bits", "Data Width: 1024 bits"))
    assert [socket["channels_populated"] for socket in describe(wide, "dmidecode-text")["sockets"] or []] == [None]
