# SPDX-License-Identifier: MIT
"""The report of one tower: the one JSON document where results meet, and of which every rendering is made alone.

What the terminal says and what the files say so cannot differ.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Optional, TypedDict

from ..advice.bandwidth_steps import runs_of_model
from ..advice.bios_rules import memory_advice
from ..advice.document import Advice, Findings, Verdict
from ..advice.speed import asked, speeds
from ..advice.verdict import next_steps, verdict
from ..benchmark.document import Run, Tuning
from ..build.document import BuildManifest
from ..forecast.document import Forecast
from ..forecast.roofline import calibrated, forecast
from ..memory.document import MemoryChannels
from ..model.document import Manifest
from ..service.document import ServiceResult
from ..text import without_secrets
from ..tower_document import Tower

# Raised when a key is renamed, removed or changes its meaning, and when a page cannot do without a new one.
SCHEMA_VERSION = 4


class ReportForecast(Forecast):
    """The forecast before anything is measured, for the ``policy`` that the service's memory has; ``calibrated`` is the
    same after the tower's benchmarks, None where there are none."""

    policy: str
    calibrated: Optional[Forecast]


class Report(Findings):
    """``<host>.json``: what was found on a tower, and what follows from it.

    ``generated`` is when, UTC. ``failure`` is what the check of the service said, where it did not pass;
    ``distribution`` is how models came to the towers in this run and why so, in words; ``forecast`` is None where the
    memory or the model is unknown.
    """

    schema_version: int
    generated: str
    verdict: Verdict
    forecast: Optional[ReportForecast]
    advice: list[Advice]
    failure: Optional[str]
    distribution: Optional[str]


class _Read(TypedDict):
    """The only part that is needed."""

    tower: Tower


class Parts(_Read, total=False):
    """What the roles and modules returned, as the Findings have it and beside these ``advice``: what advise() says of
    the tower and its memory, the memory's own advice included; ``unlocked``: models that follow a branch or tag;
    ``failure``: what the check of the service failed with; and ``distribution``: how models came to the towers. A part
    that is not there yet is None or left out."""

    memory_channels: Optional[MemoryChannels]
    build: Optional[BuildManifest]
    model: Optional[Manifest]
    service: Optional[ServiceResult]
    benchmarks: Optional[list[Run]]
    tuning: Optional[Tuning]
    advice: Optional[Sequence[Advice]]
    unlocked: Optional[list[str]]
    failure: Optional[str]
    distribution: Optional[str]


def build_report(parts: Parts, host: str, generated: str) -> Report:
    """The document; a part that is not there yet is None in it."""
    # What is meant for others to read has no token of a source's URL.
    found: Findings = {
        "host": host,
        "tower": parts["tower"],
        "memory_channels": parts.get("memory_channels") or None,
        "build": without_secrets(parts.get("build")) or None,
        "model": without_secrets(parts.get("model")) or None,
        "service": without_secrets(parts.get("service")) or None,
        "benchmarks": parts.get("benchmarks") or [],
        "tuning": parts.get("tuning") or None,
    }
    hardware, failure = parts.get("advice"), without_secrets(parts.get("failure")) or None
    if hardware is None:
        memory = found["memory_channels"]
        hardware = [memory_advice(entry) for entry in memory["advice"]] if memory else []
    seen = speeds(found, hardware)
    advice = next_steps(found, hardware, parts.get("unlocked") or [], failure, seen)
    return {
        "schema_version": SCHEMA_VERSION,
        "generated": generated,
        "verdict": verdict(found, advice, seen),
        **found,
        "forecast": _forecast(found),
        "advice": advice,
        "failure": failure,
        "distribution": parts.get("distribution") or None,
    }


def _forecast(found: Findings) -> Optional[ReportForecast]:
    """What roofline.py says of this model on this machine."""
    question = asked(found)
    # The board that a guest shows is what its host makes up, and its CPUs may be emulated.
    if not question or found["tower"].get("hypervisor"):
        return None
    machine, weights, use = question
    known, factor = calibrated(machine, runs_of_model(found), weights, use)
    return {
        **forecast(machine, weights, use),
        "policy": use.policy,
        "calibrated": forecast(known, weights, use, factor) if known != machine else None,
    }


def reports_of(documents: Sequence[Any], hosts: Collection[str]) -> list[Any]:
    """Of what lies in a directory of reports, those of towers that are still there, and of this version."""
    return [
        document
        for document in documents
        if isinstance(document, dict)
        and document.get("host") in hosts
        and document.get("schema_version") == SCHEMA_VERSION
    ]


def machine_name(tower: Tower) -> str:
    """The maker and the name of the board."""
    return " ".join(name for name in (tower["board"]["vendor"], tower["board"]["name"]) if name)


def cpu_name(tower: Tower) -> str:
    """The CPUs: ``2x AMD EPYC 9124 16-Core Processor``."""
    sockets = f"{tower['sockets']}x " if (tower["sockets"] or 1) > 1 else ""
    return f"{sockets}{tower['cpu']['model']}"
