# SPDX-License-Identifier: MIT
"""Boards whose full listing is known, with DIMMs taken out at random: an answer is right, or there is none."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence

import pytest

from plugins.module_utils.memory.channels import describe
from tests.boards.corpus import machines, needs_corpus
from tests.boards.depopulation import STYLES, Board, depopulated, expected, full_board, populations, verdict
from tests.boards.namings import NAMINGS, boards_of

# How often each board is emptied. A long run takes minutes: DEPOPULATIONS=200 pytest tests/unit/memory -k depopulation
DEPOPULATIONS = int(os.environ.get("DEPOPULATIONS", "5"))
# The same in each run, so that what fails is a change and not chance; other ones are for a longer walk.
SEED = int(os.environ.get("SEED", "1"))


def walk(boards: list[Board], seed: int, styles: Sequence[str] = STYLES) -> tuple[dict[str, Counter[str]], list[str]]:
    """What comes of each way to list empty slots, and evidence of all that is not right or null."""
    chance = random.Random(seed)
    found: dict[str, Counter[str]] = {style: Counter() for style in styles}
    wrong = []
    for board in boards:
        for left in populations(board, chance, DEPOPULATIONS):
            for style in styles:
                result = describe(depopulated(board, left, style), "dump")
                outcome = verdict(board, left, result)
                found[style][outcome] += 1
                if outcome not in ("right", "null"):
                    names = [
                        f"{device.locator} ~ {device.bank}" for device in board.machine.devices if device.handle in left
                    ]
                    wrong.append(
                        f"{board.name}: {outcome}, empty slots {style}, SEED={seed}: {result['rule']} "
                        f"{result['confidence']} {[socket['channels_populated'] for socket in result['sockets'] or []]}"
                        f" instead of {expected(board, left, result)}: {', '.join(names)}"
                    )
    return found, wrong


@pytest.mark.parametrize("title", NAMINGS)
def test_whatever_slots_are_filled_an_answer_is_right(title: str) -> None:
    naming = NAMINGS[title]
    styles = STYLES[:-1] if naming.told_by_the_count else STYLES
    found, wrong = walk(list(boards_of(naming)), SEED, styles)
    assert not wrong, "\n".join(wrong)
    assert not (naming.complete and found["named"]["null"]), found["named"]


@needs_corpus
def test_a_real_board_that_is_emptied_is_answered_rightly_or_not_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    boards = [board for row, machine in machines() if (board := full_board(row["file"], machine))]
    found, wrong = walk(boards, SEED)
    with capsys.disabled():
        print(f"\n{len(boards)} real boards, each emptied {DEPOPULATIONS} times, SEED={SEED}")
        for style, outcomes in found.items():
            print(f"{style:<10} {dict(outcomes)}")
    assert len(boards) > 60
    assert not wrong, "\n".join(wrong)
