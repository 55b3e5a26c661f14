# SPDX-License-Identifier: MIT
"""What the memory of a machine moves: by its CPUs, by the channels in use, and what of that reads can reach."""

from __future__ import annotations

from typing import Optional

from .cpus import DRAM_EFFICIENCY, GMI_GB_S, CpuMemory, ccd_links, dies_of
from .document import Bandwidth, Dimm, MemoryChannels, Socket
from .smbios import MemoryDevice, Processor

# Bytes that a channel of 64 bits moves a transfer.
CHANNEL_BYTES = 8
# The slowest DIMMs that are made, MT/s (JESD79-4, JESD79-5; servers run DDR4 at 1333). What is slower is a clock.
SLOWEST = {"DDR4": 1333, "DDR5": 3200}


def configured_speed(device: MemoryDevice) -> Optional[int]:
    """The speed a DIMM runs at, None where it is not printed; a clock printed instead of the rate is doubled."""
    configured, rated = device.configured_mts, device.rated_mts
    if configured and ((rated and abs(rated / 2 - configured) <= 2) or configured < SLOWEST.get(device.type or "", 0)):
        return configured * 2
    return configured or None


def running_speed(dimms: list[Dimm]) -> Optional[int]:
    """The speed of the slowest DIMM, which sets the pace of all."""
    speeds = [dimm["configured_mts"] or dimm["rated_mts"] for dimm in dimms if dimm["populated"]]
    return min((speed for speed in speeds if speed), default=None)


def channel_gb_s(mts: int) -> float:
    """GB/s of one channel."""
    return mts * CHANNEL_BYTES / 1000


def channels_in_use(channels: Optional[MemoryChannels]) -> tuple[Optional[int], Optional[int]]:
    """Channels with DIMMs, and all channels of the CPUs; each is None where it is unknown of a socket."""
    filled = [socket for socket in (channels and channels["sockets"]) or [] if socket["populated"]]
    return (
        _total([socket["channels_populated"] for socket in filled]),
        _total([socket["channels_total"] for socket in filled]),
    )


def _total(counts: list[Optional[int]]) -> Optional[int]:
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def unknown_bandwidth() -> Bandwidth:
    return {
        "theoretical_gb_s": None,
        "populated_gb_s": None,
        "reachable_gb_s": None,
        "reachable_source": None,
        "limited_by": "unknown",
    }


def bandwidth_of(
    sockets: list[Socket],
    dimms: list[Dimm],
    memory: Optional[CpuMemory],
    cpu: Optional[Processor],
    guest: bool = False,
) -> Bandwidth:
    """The bandwidth of all sockets, whose CPUs are like this one and have this memory.

    A guest's CPU is what its name says: family and model may be another one's, which its host shows.
    """
    result = unknown_bandwidth()
    filled = [socket for socket in sockets if socket["populated"]]
    speed = running_speed(dimms)
    fastest = max((memory and memory.mts_1dpc) or 0, speed or 0)
    if memory and fastest:
        result["theoretical_gb_s"] = round(len(filled) * memory.channels * fastest * CHANNEL_BYTES / 1000, 1)
    channels = _total([socket["channels_populated"] for socket in filled])
    if speed and channels is not None:
        result["populated_gb_s"] = round(channels * speed * CHANNEL_BYTES / 1000, 1)
    links = ccd_links(None if guest else cpu.family, None if guest else cpu.model, cpu.version) if cpu else None
    dies = dies_of(links, [socket["l3_domains"] for socket in filled])
    # Without the number of dies nobody can say what their links let through.
    if result["populated_gb_s"] and (dies or not links):
        _set_reachable(result, result["populated_gb_s"], links[0] if links else None, dies or 0)
    return result


def _set_reachable(result: Bandwidth, populated: float, generation: Optional[str], dies: int) -> None:
    """What the memory controllers reach of the channels in use, or what the links of the dies let through."""
    low, high = (populated * part for part in DRAM_EFFICIENCY)
    result["limited_by"] = "channels"
    result["reachable_source"] = "estimate: what memory controllers reach of the channels in use"
    if generation:
        link_low, link_high = (dies * part for part in GMI_GB_S[generation])
        if link_low < low:
            result["limited_by"] = "ccd-links"
            result["reachable_source"] = f"estimate: {dies} dies, each as measured on other CPUs of {generation}"
        low, high = min(low, link_low), min(high, link_high)
    result["reachable_gb_s"] = [round(low, 1), round(high, 1)]


def dimms_by_channel(socket: Socket, dimms: list[Dimm]) -> dict[str, list[Dimm]]:
    """The slots of a socket by their channels, of those whose channel is known."""
    found: dict[str, list[Dimm]] = {}
    for dimm in dimms:
        if dimm["socket"] == socket["socket"] and dimm["channel"]:
            found.setdefault(dimm["channel"], []).append(dimm)
    return found
