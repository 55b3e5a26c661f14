# SPDX-License-Identifier: MIT
"""What every module says of check mode, of diff mode, and of where it runs."""

from __future__ import annotations


class ModuleDocFragment:
    """``llamatower.tower.attributes``, and ``.info`` for modules that only read."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Whether a run with C(--check) says what it would change, and changes nothing.
  diff_mode:
    description: Whether C(--diff) shows old and new.
  platform:
    description: Which machines it runs on.
    support: full
    platforms: linux
"""

    INFO = r"""
attributes:
  check_mode:
    support: full
    details:
      - Reads only.
  diff_mode:
    support: none
    details:
      - Reads only.
"""
