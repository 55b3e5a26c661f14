# SPDX-License-Identifier: MIT
"""The account that runs the server: made for it, or a service's like it, and never somebody's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

# Of persons on Debian and Ubuntu (UID_MIN of /etc/login.defs), except nobody.
FIRST_PERSON, NOBODY = 1000, 65534


def account_problem(entry: Optional[Sequence[str]], name: str) -> Optional[str]:
    """One sentence where an account cannot run the server, else None.

    ``entry`` is its line of passwd without the name (password, number, group, comment, home, shell), None without one.
    """
    if not entry:
        return None
    uid, shell = int(entry[1]), entry[-1]
    if uid == 0 or (uid >= FIRST_PERSON and uid != NOBODY):
        whose = f"has the number {uid}"
    elif not shell.endswith(("/nologin", "/false")):
        whose = f"can log in with {shell or '/bin/sh'}"
    else:
        return None
    return (
        f"The account {name} is there and {whose}, so that it is not one of a service: name another in "
        "llama_service_user, which is made where it is not there."
    )
