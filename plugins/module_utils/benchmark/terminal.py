# SPDX-License-Identifier: MIT
"""What benchmarks and the tuner found, as text for a terminal, at most 80 columns wide."""

from __future__ import annotations

from typing import Optional

from ..service.document import Arm
from ..text import WIDTH, duration, number, printable, rate, wrapped
from .document import NAMES, Summary, Tuning, name_of
from .history import run_before


def benchmark_text(found: Summary, host: str) -> str:
    """The last run of what benchmark_info returns, and how it differs from the one that it is compared with."""
    latest, before = found["latest"], run_before(found["latest"], found["history"][:-1])
    results = latest["results"]
    order = sorted(results, key=lambda key: (list(NAMES).index(key) if key in NAMES else -1, key))
    lines = ["=" * WIDTH, f"{host} · {latest['started']}", "=" * WIDTH]
    for key in order:
        result = results[key]
        line = f"{name_of(key):<36}{number(result['median']):>9} {result['unit']:<9}±{result['spread'] / 2:>4.0%}"
        if before and key in before["results"]:
            line += f"  {result['median'] / before['results'][key]['median'] - 1:+.1%}"
        lines.append(line)
    roof, part = latest["derived"]["roofline_tokens_per_second"], latest["derived"]["service_of_roofline"]
    if roof:
        reached = f"; the service reaches {part:.0%} of that" if part else ""
        lines += ["", *wrapped("ROOFLINE", f"the memory allows {rate(roof, unit='tokens a second')}{reached}")]
    lines.append("")
    if before:
        lines += wrapped("COMPARED", f"with {before['started']}, under the same conditions")
    elif found["changed_conditions"]:
        lines += wrapped("COMPARED", f"with none: since the last run {', '.join(found['changed_conditions'])} changed")
    for sentence in found["regressions"]:
        lines += wrapped("SLOWER", sentence)
    for name, why in latest["skipped"].items():
        lines += wrapped("NO", f"{name_of(name)}: {why}")
    return "\n".join(printable(line).rstrip() for line in lines).rstrip()


def arm_text(arm: Arm, threads_batch: Optional[int] = None) -> str:
    """The settings of an arm in words."""
    batch = f" ({threads_batch} for prompts)" if threads_batch is not None else ""
    flash = "with" if arm["flash_attention"] else "without"
    return (
        f"policy {arm['numa_policy']}, load mode {arm['load_mode']}, huge pages {arm['huge_pages']}, "
        f"{arm['threads']} threads{batch}, {flash} flash attention"
    )


def tuning_text(found: Tuning, left_out: dict[str, str]) -> str:
    """The stored result of the tuner in words, and why policies were not compared."""
    evidence = found["evidence"]
    decode, prompt = evidence["decode_tokens_per_second"], evidence["prompt_tokens_per_second"]
    runner = evidence["runner_up"]
    speed = rate(decode["median"], unit="tokens a second")
    speed += f" ({number(decode['low'])} to {number(decode['high'])})"
    if prompt:
        speed += f", prompts {number(prompt['median'])}"
    lines = wrapped("FASTEST", arm_text(found["winner"], found["winner"]["threads_batch"]))
    lines += wrapped("SPEED", speed)
    if evidence["load_seconds"]:
        lines += wrapped("LOADING", f"{duration(min(evidence['load_seconds']))} from the disk")
    if runner:
        best = runner["decode_tokens_per_second"]["median"]
        lines += wrapped("NEXT", f"{arm_text(runner)}: {rate(best, unit='tokens a second')}")
    sure = {
        "certain": "certain: each of its samples beats all of the next best",
        "likely": "likely: the median is more than 1 % ahead of the next best",
        "tie": "a tie: the next best is as fast, within what samples differ by",
    }
    lines += wrapped("HOW SURE", sure[found["confidence"]])
    for policy, why in left_out.items():
        lines += wrapped("NO", f"{policy}: {why}")
    return "\n".join(lines)
