# SPDX-License-Identifier: MIT
"""What a tower runs by itself: whole wings whose imports close, on the oldest Python, readable by everybody."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugins.module_utils.service.programs import install_programs, read_programs

REPO = Path(__file__).resolve().parents[3]
# The programs that units, timers and /usr/local/bin/interleave name, and what each says when it is run without a tower.
ENTRY_POINTS = {
    "model.verify": (["/no/such/store"], 0, "0 of 0 files of 0 models have the SHA-256 of their manifest."),
    "service.tls": (["start", "no-such-instance"], 1, "no-such-instance/current has no deployment"),
    "service.supervise": (["start", "no-such-instance", "1"], 1, "no-such-instance/current has no deployment"),
    "service.launcher": (["no-such-instance"], 1, "no-such-instance/current has no deployment"),
    "service.switch": (["no-such-instance"], 0, ""),
    "service.interleave": (["--help"], 0, "usage: interleave COMMAND"),
}


def oldest_python() -> str:
    """A Python 3.9 where there is one, the oldest that ansible-core supports on targets; else the system's."""
    kept = sorted((Path.home() / ".pyenv/versions").glob("3.9.*/bin/python3"))
    return str(kept[-1]) if kept else "/usr/bin/python3"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what a tower gets."""
    path = tmp_path_factory.mktemp("lib") / "llamatower"
    install_programs(str(path), read_programs(str(REPO / "plugins/module_utils")))
    return path


@pytest.fixture
def lib(tmp_path: Path) -> Path:
    """The directory of libraries, as a system has it."""
    path = tmp_path / "lib"
    path.mkdir(mode=0o755)
    return path


@pytest.fixture
def narrow_umask() -> Iterator[None]:
    """That of a root whom a hardening guide has had."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def run(python: str, shipped: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Isolated (-I), from another directory: nothing but the shipped files and the standard library is found."""
    code = f"import runpy, sys; sys.path.insert(0, {str(shipped)!r}); {code}"
    return subprocess.run(
        [python, "-I", "-B", "-c", code, *arguments], cwd="/", capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ENTRY_POINTS)
@pytest.mark.parametrize("python", sorted({oldest_python(), sys.executable}))
def test_each_entry_point_runs_from_what_is_shipped(python: str, name: str, shipped: Path) -> None:
    arguments, code, said = ENTRY_POINTS[name]
    done = run(
        python, shipped, f"runpy.run_module('llamatower.{name}', run_name='__main__', alter_sys=True)", *arguments
    )
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr


def test_every_file_that_is_shipped_imports_on_the_oldest_python(shipped: Path) -> None:
    names = [".".join(path.relative_to(shipped).with_suffix("").parts) for path in sorted(shipped.rglob("*.py"))]
    assert len(names) > len(ENTRY_POINTS)
    done = run(
        oldest_python(), shipped, "import importlib; [importlib.import_module(name) for name in sys.argv[1:]]", *names
    )
    assert done.returncode == 0, done.stderr


def test_the_units_and_the_wrapper_name_these_entry_points() -> None:
    paths = [*REPO.glob("roles/*/templates/*.service.j2"), *REPO.glob("roles/*/files/*")]
    text = "\n".join(path.read_text() for path in paths)
    assert set(re.findall(r"(?:-m|from) llamatower\.([\w.]+)", text)) == set(ENTRY_POINTS)


def test_everybody_can_read_them_whatever_the_umask(tmp_path: Path, narrow_umask: None) -> None:
    path = tmp_path / "usr/lib"
    install_programs(str(path), {"text.py": "", "service/unit.py": ""})
    modes = {stat.S_IMODE(found.stat().st_mode) for found in path.rglob("*") if found.is_dir()}
    files = {stat.S_IMODE(found.stat().st_mode) for found in path.rglob("*.py")}
    assert (modes, files, stat.S_IMODE(path.stat().st_mode)) == ({0o755}, {0o644}, 0o755)


def test_modes_that_an_older_version_left_are_mended(lib: Path) -> None:
    programs = {"text.py": "x", "service/unit.py": "y"}
    install_programs(str(lib), programs)
    (lib / "llamatower/service").chmod(0o700)
    (lib / "llamatower/text.py").chmod(0o600)
    assert install_programs(str(lib), programs) == (["llamatower/service", "llamatower/text.py"], [])
    assert install_programs(str(lib), programs) == ([], [])
    assert stat.S_IMODE((lib / "llamatower/service").stat().st_mode) == 0o755


def test_what_older_versions_left_is_removed_and_caches_of_python_are_none_of_it(lib: Path) -> None:
    old = lib / "llamatower"
    (old / "gone/__pycache__").mkdir(parents=True)
    (old / "placement_check.py").write_text("old")
    (old / "service/__pycache__").mkdir(parents=True)
    (old / "service/__pycache__/unit.pyc").touch()
    assert install_programs(str(lib), {"service/unit.py": "new"})[1] == [
        "llamatower/gone",
        "llamatower/placement_check.py",
    ]
    assert install_programs(str(lib), {"service/unit.py": "new"}) == ([], [])
    assert sorted(path.name for path in old.iterdir()) == ["service"]


def test_only_what_differs_is_written(lib: Path) -> None:
    install_programs(str(lib), {"text.py": "1", "service/unit.py": "1"})
    kept = (lib / "llamatower/text.py").stat().st_ino
    assert install_programs(str(lib), {"text.py": "1", "service/unit.py": "2"}) == (["llamatower/service/unit.py"], [])
    assert (lib / "llamatower/text.py").stat().st_ino == kept
    assert (lib / "llamatower/service/unit.py").read_text() == "2"


def test_a_check_tells_and_writes_nothing(lib: Path) -> None:
    (lib / "llamatower").mkdir()
    (lib / "llamatower/old.py").touch()
    assert install_programs(str(lib), {"service/unit.py": "1"}, check=True) == (
        ["llamatower/service/unit.py"],
        ["llamatower/old.py"],
    )
    assert [path.name for path in lib.rglob("*")] == ["llamatower", "old.py"]
