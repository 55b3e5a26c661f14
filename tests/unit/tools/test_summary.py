# SPDX-License-Identifier: MIT
"""What bin/test says at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.summary import told

UNIT = """<testsuites><testsuite name="pytest" tests="3">
<testcase classname="tests.unit.memory.test_channels" name="test_twelve" time="2.5"/>
<testcase classname="tests.unit.memory.test_channels" name="test_odd" time="0.5"><skipped message="no"/></testcase>
<testcase classname="tests.unit.model.test_gguf" name="test_bytes" time="{seconds}">{inside}</testcase>
</testsuite></testsuites>"""


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    (tmp_path / "unit-2.19.xml").write_text(UNIT.format(seconds=1.0, inside=""))
    (tmp_path / "unit-2.21.xml").write_text(UNIT.format(seconds=9.0, inside=""))
    (tmp_path / "steps").write_text("unit\t\tok\t14\nvm\tcreate\tok\t100\nvm\tconverge\tok\t200\nvm\t\tok\t310\n")
    return tmp_path


def test_tests_and_steps_are_counted_and_the_slowest_named(artifacts: Path) -> None:
    text, well = told(324, ["unit", "vm"], artifacts)
    print(text)
    assert well
    assert "unit           4 passed     0 failed     2 skipped      14 s" in text
    assert "vm             2 passed     0 failed     0 skipped     310 s" in text
    assert text.endswith("6 passed, 0 failed, 2 skipped in 6 min")
    assert "The slowest of unit:\n     9.0 s  model.test_gguf test_bytes on 2.21\n     2.5 s  memory" in text
    assert "   200.0 s  converge" in text


def test_no_more_than_ten_are_named(artifacts: Path) -> None:
    (artifacts / "steps").write_text("".join(f"vm\tstep {n}\tok\t{n}\n" for n in range(20)))
    text, _ = told(1, ["vm"], artifacts)
    named = [line.split(" s  ")[1] for line in text.splitlines() if " s  step" in line]
    assert named == [f"step {n}" for n in range(19, 9, -1)]


@pytest.mark.parametrize("kind", ["failure", "error"])
def test_a_test_that_failed_is_a_failure(artifacts: Path, kind: str) -> None:
    (artifacts / "unit-2.21.xml").write_text(UNIT.format(seconds=1.0, inside=f"<{kind}/>"))
    text, well = told(1, ["unit"], artifacts)
    assert not well
    assert "1 failed" in text


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param("vm\tcreate\tFAILED\t3\nvm\t\tok\t3\n", id="a step"),
        pytest.param("vm\tcreate\tok\t3\nvm\t\tFAILED\t3\n", id="the level"),
        pytest.param("", id="nothing ran"),
    ],
)
def test_a_level_fails_with_what_it_consists_of(artifacts: Path, steps: str) -> None:
    (artifacts / "steps").write_text(steps)
    text, well = told(1, ["vm"], artifacts)
    assert not well
    assert "1 failed" in text
