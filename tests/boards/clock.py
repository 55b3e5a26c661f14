# SPDX-License-Identifier: MIT
"""What code costs beside other code: a limit in seconds would tell how busy the machine is."""

from __future__ import annotations

import time


def counting() -> float:
    """Processor time of counting to a million."""
    started = time.process_time()
    for _ in range(1_000_000):
        pass
    return time.process_time() - started
