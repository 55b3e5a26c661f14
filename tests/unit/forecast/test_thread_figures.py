# SPDX-License-Identifier: MIT
"""The figures that the thread gave come out again, and what is off is said."""

from __future__ import annotations

import pytest

from plugins.module_utils.forecast.thread_figures import thread_figures
from tests.forecast_inputs import MACHINES, MEMORY, MODELS

# What the thread says, what comes out here, and whether something is said to it.
FIGURES = {
    "weights of a model of 400B at 6 bits": ("300 GB", "300 GB", "332.9 GB"),
    "a token from an M.2 drive": ("30 s", "30 s", "full rate"),
    "a token from two channels": ("80 GB/s, 4 s", "80.0 GB/s, 3.75 s", "192 GiB do not hold the model"),
    "bandwidth of 12 channels": ("480 GB/s", "461 GB/s", "40 GB/s a channel"),
    "bandwidth of 24 channels": ("960 GB/s", "922 GB/s", "40 GB/s a channel"),
    "consumer GPUs of 24 GB (3090, 4090)": (
        "about 16, more than $30,000",
        "13 to 16, $24,375 to $30,000",
        "16 hold the",
    ),
    "datacenter GPUs of 80 GB (A100, H100)": ("4 to 5, more than $50,000", "4 to 5, $50,000 to $62,500", "5 hold the"),
    "cost of one EPYC 9124, 12 channels": ("$4,500", "$4,400", "$100 less"),
    "cost of two EPYC 9124 on a Gigabyte MZ73-LM1, 24 channels": ("$5,700", "$5,700", ""),
    "384 GB of memory": ("$2,100, at $300 to 400 for 64 GB", "6 x 64 GB, $1,800 to $2,400", "fill six channels"),
}


@pytest.mark.parametrize("what", FIGURES)
def test_the_figures_of_the_thread_come_out_and_what_is_off_is_said(what: str) -> None:
    found = next(row for row in thread_figures(MODELS, MACHINES) if row["what"] == what)
    told, computed, remark = FIGURES[what]
    assert (found["told"], found["found"]) == (told, computed)
    assert remark in found["say"] and bool(remark) == bool(found["say"])


def test_the_sample_build_lands_at_one_to_two_tokens_for_its_dies() -> None:
    found = next(row for row in thread_figures(MODELS, MACHINES) if row["what"] == "speed of the sample build")
    low, high = (float(word) for word in found["found"].split()[:3:2])
    assert 0.9 <= low < 1.0 < high <= 2.0
    assert found["say"].startswith("Not the 2.8 ") and "ccd-links" in found["say"]


def test_the_price_of_the_same_build_now_is_beside_that_of_the_thread() -> None:
    rows = thread_figures(MODELS, MACHINES, MEMORY)
    now = next(row for row in rows if row["what"] == "the same with memory at the price of this plan")
    # 3,600 dollars of other parts, and 384 GB.
    assert (now["told"], now["found"]) == ("$5,700", f"${3600 + round(384 * MEMORY['usd_per_gb']):,}")
    assert MEMORY["date"] in now["say"]
    assert [row for row in rows if row is not now] == thread_figures(MODELS, MACHINES)


def test_a_catalog_of_ones_own_has_no_figures_of_the_thread() -> None:
    assert thread_figures(MODELS[:1], MACHINES) == thread_figures(MODELS, MACHINES[1:]) == []
    unpriced = [entry | {"price_usd": None} if entry["kind"] == "gpu" else entry for entry in MACHINES]
    assert thread_figures(MODELS, unpriced) == []
