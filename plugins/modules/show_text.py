# SPDX-License-Identifier: MIT
"""Documentation of the show_text action, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: show_text
short_description: Print a text in the terminal as it is
version_added: 0.1.0
author: llamatower contributors
description:
  - Prints lines below the name of the task, under every callback and in every format of results.
    M(ansible.builtin.debug) prints a text of several lines as one line with C(\n) in it, unless the result format of
    its callback is YAML.
  - Where the play has more than one host, the line above says whose they are; not with C(run_once), which is of all.
extends_documentation_fragment:
  - llamatower.tower.attributes
options:
  text:
    description: The lines. Nothing is printed of an empty text.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    details: Prints, as in any other run.
  diff_mode:
    support: none
    details: Changes nothing.
"""

EXAMPLES = r"""
- name: Draw the memory channels of the tower
  llamatower.tower.memory_channels_info:
  register: found

- name: Show them
  llamatower.tower.show_text:
    text: "{{ found.memory_channels | llamatower.tower.memory_board }}"
"""

RETURN = r""" # """
