# SPDX-License-Identifier: MIT
"""What the unit of the server runs: the current deployment of its instance.

launcher UNIT_NAME     as the server's user: becomes numactl and llama-server, by current/deployment.json
"""

from __future__ import annotations

import os
import sys

from .deployment import current_unit, server_command, server_environment


def main(argv: list[str]) -> int:
    try:
        instance, identity, deployment, unit = current_unit(argv[1])
        words = server_command(deployment, unit)
        environment = {**os.environ, **server_environment(instance, identity, deployment, unit)}
        os.execve(words[0], words, environment)
    except (LookupError, OSError) as error:
        print(f"{argv[1]} cannot be started: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
