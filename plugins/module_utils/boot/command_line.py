# SPDX-License-Identifier: MIT
"""Words on the kernel command line, given and taken: decided by what is there, whoever wrote it and when."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Optional

from ..files import make_directory, read_json, write_beside, write_json
from ..sysfs import read_text
from .loaders import GivenWords, Kernels, Loader, Run, find_loader, has_words, settled, unknown_problem

# Beside what other tools keep of the same kind: kernel-install's cmdline, and the lists of proxmox-boot-tool.
RECORDS = "etc/kernel"
SUFFIX = ".words.json"


class CommandLinePlan(NamedTuple):
    """What is to be done: what the file says and should say, and whether what is made of it is right already."""

    record: GivenWords
    before: Optional[str]
    after: Optional[str]
    kernels: Kernels
    settled: bool

    @property
    def changed(self) -> bool:
        return self.before != self.after or not self.settled


class CommandLine:
    """The kernel command line of the machine below ``root``, as far as one user of it (``name``) has words there."""

    def __init__(self, root: Path, run: Run, name: str) -> None:
        self.root, self.path = root, root / RECORDS / f"{name}{SUFFIX}"
        self.loader = find_loader(root, run, name)
        self.running = read_text(root / "proc/cmdline") or ""

    def record(self) -> GivenWords:
        """The words that were given under this name, by the record and by the file itself."""
        kept = read_json(str(self.path)) or {}
        own = self.loader.own_words() if self.loader else []
        return GivenWords(list(dict.fromkeys([*kept.get("words", []), *own])), kept.get("made"))

    def problem(self, wanted: Optional[str]) -> Optional[str]:
        """One sentence where nothing here can write what is to be changed, else None."""
        record = self.record()
        right = has_words(self.running, wanted) if wanted else not record.words
        return None if self.loader or right else unknown_problem(self.root, wanted, record.words)

    def plan(self, wanted: Optional[str]) -> CommandLinePlan:
        """What a run with these words would do; None takes those away that were given."""
        record = self.record()
        if self.loader is None or (wanted is None and not record.words):
            return CommandLinePlan(record, None, None, [], True)
        before, kernels = self.loader.text(), self.loader.kernels()
        stale = [words for words in record.words if words != wanted]
        after = self.loader.wanted_text(wanted, record)
        return CommandLinePlan(record, before, after, kernels, settled(kernels, wanted, stale))

    def apply(self, plan: CommandLinePlan, wanted: Optional[str]) -> tuple[Optional[str], Optional[str]]:
        """Do it; returns one sentence where the words are not there afterwards, and what the generator complained of.

        The record comes first and is shortened last: whatever is interrupted, the next run finds what is to be mended.
        """
        loader, record = self.loader, plan.record
        if loader is None:
            return None, None
        given = [] if wanted is None or (plan.before == plan.after and wanted not in record.words) else [wanted]
        made = record.made if record.words or plan.before is not None else loader.stand_in()
        if plan.changed:
            self._keep(GivenWords(list(dict.fromkeys([*record.words, *given])), made))
        if plan.before != plan.after:
            _write(loader.path, plan.after)
        complaint = None
        if not plan.settled:
            status, said = loader.generate()
            stale = [words for words in record.words if words != wanted]
            kernels = loader.kernels()
            if not settled(kernels, wanted, stale):
                return unsettled_problem(loader, kernels, wanted, stale, said), None
            complaint = f"{loader.generator} ended with {status}: {said}" if status else None
        self._keep(GivenWords(given, made))
        return None, complaint

    def _keep(self, record: GivenWords) -> None:
        if record.words:
            make_directory(str(self.path.parent))
            document = record._asdict()
            if read_json(str(self.path)) != document:
                write_json(str(self.path), document)
        elif self.path.exists():
            self.path.unlink()


def _write(path: Path, text: Optional[str]) -> None:
    if text is None:
        path.unlink()
    else:
        make_directory(str(path.parent))
        write_beside(str(path), text)


def unsettled_problem(loader: Loader, kernels: Kernels, wanted: Optional[str], stale: list[str], complaint: str) -> str:
    """One sentence on words that did not get to where the loader reads them."""
    if kernels is None:
        fact = f"{loader.generated} is cut off: the tower may not start again until that is mended"
    elif wanted is not None:
        fact = f"{loader.generated} does not have {wanted} for every kernel"
    else:
        fact = f"{loader.generated} still has {', '.join(stale)}"
    if complaint:
        return f"{loader.generator} failed ({complaint}), so that {fact}: make room in /boot, or mend what it says."
    return f"{loader.generator} ran, and {fact}: see what beside {loader.file} sets the kernel command line."


def given_words(root: Path) -> dict[str, list[str]]:
    """The words that are recorded, by the names under which they were given."""
    records = sorted((root / RECORDS).glob(f"*{SUFFIX}"))
    return {path.name[: -len(SUFFIX)]: (read_json(str(path)) or {}).get("words", []) for path in records}
