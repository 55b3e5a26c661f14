# SPDX-License-Identifier: MIT
"""What ``memory_channels_info`` returns: the sockets, DIMMs, bandwidth and advice of one machine.

All keys are always there. None is what nobody can be sure of, and an empty list is what is known to be empty. Sizes are
bytes, speeds MT/s, widths bits, bandwidths GB/s (10^9 bytes).
"""

from __future__ import annotations

from typing import Literal, Optional, TypedDict

# ``certain`` where a naming rule and the CPU agree, ``high`` where one of them answered alone, ``low`` where the
# firmware contradicts the CPU, ``none`` where there are bounds at most.
Confidence = Literal["certain", "high", "low", "none"]
Severity = Literal["problem", "advice", "info"]


class Socket(TypedDict):
    """A CPU socket (SMBIOS type 4), in the order of the board's numbers, counted from 0."""

    socket: int
    populated: bool
    cpu: Optional[str]
    # Channels of 64 bits, whatever the chips; bounds are the least and the most that can be populated.
    channels_total: Optional[int]
    channels_populated: Optional[int]
    channels_bounds: Optional[list[int]]
    # As the board names them.
    empty_channels: Optional[list[str]]
    # L3 caches of this CPU, by sysfs; in a guest by the CPU's name, since its host may make up any.
    l3_domains: Optional[int]


class Dimm(TypedDict):
    """A DIMM or its empty slot (SMBIOS type 17)."""

    handle: int
    # The two names that the board gives the slot.
    locator: Optional[str]
    bank_locator: Optional[str]
    # Where a naming rule puts it: index of the socket, channel as the board names it, slot within the channel.
    socket: Optional[int]
    channel: Optional[str]
    slot: Optional[int]
    # 0 in an empty slot; None where the firmware does not know.
    size_bytes: Optional[int]
    type: Optional[str]
    registered: Optional[bool]
    rated_mts: Optional[int]
    configured_mts: Optional[int]
    ranks: Optional[int]
    # Without ECC.
    data_width: Optional[int]
    manufacturer: Optional[str]
    part_number: Optional[str]
    populated: bool


class Bandwidth(TypedDict):
    """Of reads, over all sockets."""

    theoretical_gb_s: Optional[float]
    populated_gb_s: Optional[float]
    # Low and high, and what the estimate rests on.
    reachable_gb_s: Optional[list[float]]
    reachable_source: Optional[str]
    limited_by: Literal["channels", "ccd-links", "unknown"]


class ChannelAdvice(TypedDict):
    """One thing to mend: a sentence each for the fact and for the fix, and what it costs in GB/s."""

    severity: Severity
    code: str
    message: str
    fix: str
    gb_s: float


class MemoryChannels(TypedDict):
    """The machine. Without an SMBIOS table, sockets and DIMMs are None, and the first warning says why."""

    source: str  # dmi-table, dmidecode-text or none
    vendor: Optional[str]
    board: Optional[str]
    sockets: Optional[list[Socket]]
    dimms: Optional[list[Dimm]]
    # The naming rule that answered (slot_names.py), ``width`` of soldered memory, or ``bounds`` that left one answer.
    rule: Optional[str]
    confidence: Confidence
    bandwidth: Bandwidth
    # Problems first, and of these the most costly.
    advice: list[ChannelAdvice]
    # What was wrong with the table.
    warnings: list[str]
