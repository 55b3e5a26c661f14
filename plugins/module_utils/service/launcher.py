# SPDX-License-Identifier: MIT
"""What the unit of the server runs: the current deployment of its instance.

launcher UNIT_NAME     as the server's user: becomes numactl and llama-server, by current/deployment.json
"""

from __future__ import annotations

import os
import sys

from .api_keys import read_keys
from .deployment import current_unit, server_command, server_environment


def main(argv: list[str]) -> int:
    try:
        instance, identity, deployment, unit = current_unit(argv[1])
        with open(instance.keys_path(identity), encoding="utf-8") as file:
            if not read_keys(file.read()):
                # llama-server makes of such a file that nobody needs a key.
                raise LookupError(f"{file.name} has no API key: run ansible-playbook llamatower.tower.serve.")
        words = server_command(deployment, unit)
        environment = {**os.environ, **server_environment(instance, identity, deployment, unit)}
        os.execve(words[0], words, environment)
    except (LookupError, OSError, ValueError) as error:
        print(f"{argv[1]} cannot be started: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
