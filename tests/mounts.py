# SPDX-License-Identifier: MIT
"""Towers of which some files are others than this machine's, in a mount namespace of their own."""

from __future__ import annotations

import subprocess

import pytest


def _allowed() -> bool:
    command = ["unshare", "--mount", "mount", "--bind", "/proc/version", "/proc/cmdline"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not _allowed(), reason="only root can make the mount namespace of the tower")
