# SPDX-License-Identifier: MIT
"""The machines and servers of the tests are imported as `tests.…`, from whichever directory pytest is run."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
