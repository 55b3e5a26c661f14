# SPDX-License-Identifier: MIT
"""Writes catalog/models.yml from catalog/configurations.yml, and stores what a new model's entry is made of.

``bin/catalog`` writes all entries anew; ``bin/catalog NAME FILE --repo … --files … --source …`` stores a model before
that. FILE is a configuration of the hub (config.json) or a GGUF file, of which its first shard is named.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from pathlib import Path
from typing import Any

import yaml

from plugins.module_utils.files import write_beside
from plugins.module_utils.forecast.configuration import ConfigurationError
from plugins.module_utils.forecast.model_catalog import Stored, model_entry, needed
from plugins.module_utils.model.gguf import GgufError, file_reader, read_header, summary

CATALOG = Path(__file__).resolve().parents[1] / "catalog"
HEAD = {
    "configurations": """\
# SPDX-License-Identifier: MIT
# What the entries of models.yml are computed from: of each model the needed keys of its published configuration, or the
# summary of its file's header, with source and date. bin/catalog writes models.yml from it (docs/extending.md).
# source: nearly all are second-hand, the copy of a configuration that another public repository keeps, at the commit
# that is named; date: the day of that copy. What is not in it, and where it is from, is said behind it.
# type: that of the files. types: of which sizes are computed, where not the usual ones. layouts: mixtures by hand, as
# the type of experts and that of the rest; that DeepSeek V4 keeps its experts in MXFP4 is taken, not read. sizes: what
# is published of files whose types are not known.
""",
    "models": """\
# SPDX-License-Identifier: MIT
# Models that are worth the memory they take: what validate suggests where none is declared, and what plan knows by
# name. A model that is on the hub or on the disk needs no entry (plan_sources takes those).
# Written by bin/catalog from configurations.yml: add a model there, or change it there (docs/extending.md).
# All sizes are bytes, of the type in quantization; types has other ones, and a source and a date where that is a
# published size, beside which active_bytes is an estimate (all but the experts in Q8_0). active_bytes are read for a
# token: the experts in use, and no embedding where the model has an output matrix of its own. kv is the geometry of the
# cache: numbers kept for a token by layers that see all of the context, and by those that see a window of so many
# tokens, the state of recurrent layers and caches of several tokens in one (plugins/module_utils/model/kv_geometry.py).
# compute is what a batch is computed in (compute_buffers.py). experts: whether it is a mixture of them. source and date
# are of the configuration, in most cases of a copy of it.
""",
}


class _Lines(yaml.SafeDumper):
    """Indents lists, as the other catalogs do, and writes what is twice there twice."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def rendered(name: str, entries: list[Any]) -> str:
    """The text of a catalog: one line for each group of figures."""
    return HEAD[name] + yaml.dump(
        {name: entries}, Dumper=_Lines, default_flow_style=None, sort_keys=False, width=10**6, allow_unicode=True
    )


def stored_models() -> list[Stored]:
    models: list[Stored] = yaml.safe_load((CATALOG / "configurations.yml").read_text(encoding="utf-8"))[
        "configurations"
    ]
    return models


def models_text(stored: list[Stored]) -> str:
    """The text of models.yml, the largest model first."""
    entries = sorted(map(model_entry, stored), key=lambda entry: -entry["bytes"])
    return rendered("models", entries)


def described(path: Path) -> dict[str, Any]:
    """What is stored of a file: ``config`` or ``gguf``."""
    if path.suffix == ".json":
        return {"config": needed(json.loads(path.read_text(encoding="utf-8")))}
    count = read_header(*file_reader(str(path))).metadata.get("split.count") or 1
    shards = [Path(str(path).replace(f"-00001-of-{count:05}", f"-{n + 1:05}-of-{count:05}")) for n in range(count)]
    return {"gguf": summary([read_header(*file_reader(str(shard))) for shard in shards])}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bin/catalog", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", nargs="?", help="the model's name in the catalog")
    parser.add_argument("file", nargs="?", type=Path, help="its config.json, or a GGUF file of it")
    parser.add_argument("--repo", help="the repository of the hub that has its files, organization/name")
    parser.add_argument("--files", default="Q6_K/*.gguf", help="the pattern of its files there (%(default)s)")
    parser.add_argument("--type", default="Q6_K", help="the type of those (%(default)s)")
    parser.add_argument("--source", help="where FILE is from")
    parser.add_argument("--date", default=datetime.date.today().isoformat(), help="when it was there (today)")
    given = parser.parse_args(arguments)
    stored = stored_models()
    try:
        if given.name:
            if not (given.file and given.repo and given.source):
                parser.error("a model needs FILE, --repo and --source")
            told = {key: getattr(given, key) for key in ("name", "repo", "files", "type", "source", "date")}
            entry: Any = {**told, **described(given.file)}
            stored = [*(model for model in stored if model["name"] != given.name), entry]
        text = models_text(stored)
    except (ConfigurationError, GgufError, OSError, ValueError) as error:
        print(f"bin/catalog: {error}", file=sys.stderr)
        return 1
    write_beside(str(CATALOG / "configurations.yml"), rendered("configurations", stored))
    write_beside(str(CATALOG / "models.yml"), text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
