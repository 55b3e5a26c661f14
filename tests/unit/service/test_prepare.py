# SPDX-License-Identifier: MIT
"""A deployment is written down whole, with its keys, and goes when nobody needs it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils.service.api_keys import read_keys
from plugins.module_utils.service.deployment import Instance, UnreadableError, identity_of
from plugins.module_utils.service.prepare import (
    DeploymentError,
    former,
    keys_digest,
    keys_text,
    present_keys,
    prune,
    renew_good,
    with_keys,
    write_down,
)

KEYS = "# ann\nsecret-of-ann\n"


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance("main", str(tmp_path / "instances"))


def some(tmp_path: Path, context: int) -> Any:
    places = {name: tmp_path / "store/.pinned" / name for name in ("engine", f"m-{context}")}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    return {
        "schema_version": 1,
        "instance": "main",
        "context": context,
        "engine": {"key": "k", "directory": str(places["engine"])},
        "model": {"name": "m", "directory": str(places[f"m-{context}"])},
        "units": [],
    }


def served(tmp_path: Path, instance: Instance, context: int) -> str:
    """A deployment that was proven, the later the larger its context, and is the current one."""
    identity = write_down(instance, some(tmp_path, context), KEYS, os.getgid())
    proven = Path(instance.directory(identity), "proven")
    proven.touch()
    os.utime(proven, (context, context))
    instance.point("current", identity)
    return identity


def test_a_generated_key_stays_until_it_is_rotated_or_others_are_given(tmp_path: Path, instance: Instance) -> None:
    first = keys_text(instance, [], False)
    instance.point("current", write_down(instance, some(tmp_path, 1), first, os.getgid()))
    assert keys_text(instance, [], False) == first
    assert keys_text(instance, [], True) != first
    two = [{"name": "ann", "key": "a"}, {"name": "ben", "key": "b"}]
    assert read_keys(keys_text(instance, two, False)) == ["a", "b"]
    assert read_keys(keys_text(instance, two[:1], False)) == ["a"], "what is taken out is gone"


def test_the_digest_of_keys_is_another_on_each_tower(tmp_path: Path, instance: Instance) -> None:
    assert keys_digest(instance, KEYS) == keys_digest(instance, KEYS) != keys_digest(instance, KEYS + "b\n")
    assert keys_digest(Instance("main", str(tmp_path / "another")), KEYS) != keys_digest(instance, KEYS)
    assert os.stat(os.path.join(instance.path, ".secret")).st_mode & 0o777 == 0o600


def test_it_is_written_whole_for_root_and_the_group_only(tmp_path: Path, instance: Instance) -> None:
    deployment = some(tmp_path, 1)
    left = Path(instance.directory(identity_of(deployment)))
    left.mkdir(parents=True)
    (left / "keys").write_text("half")
    identity = write_down(instance, deployment, KEYS, os.getgid())
    modes = [os.stat(left / name).st_mode & 0o777 for name in ("", "deployment.json", "keys")]
    assert (modes, instance.read(identity)) == ([0o750, 0o640, 0o640], deployment)
    assert (left / "keys").read_text() == KEYS
    assert os.listdir(left.parent) == [identity]


def test_what_comes_back_has_the_keys_that_are_valid_now(tmp_path: Path, instance: Instance) -> None:
    """A key was taken out, and valid again when the same run's deployment failed."""
    good, only_ben = served(tmp_path, instance, 1), "# ben\nsecret-of-ben\n"
    wanted = write_down(instance, some(tmp_path, 2), only_ben, os.getgid())
    for _again in range(2):
        # The second time as if the power had failed before the link.
        instance.point("good", good)
        renew_good(instance, wanted, only_ben, os.getgid())
        renewed = str(instance.named("good"))
        assert Path(instance.keys_path(renewed)).read_text() == only_ben
        found: Any = instance.read(renewed)
        assert (found["context"], instance.proven(renewed), instance.proven(good)) == (1, 1, 0)
        assert instance.named("current") == good, "which still runs"


def test_what_comes_back_keeps_its_keys_where_nothing_else_is_another(tmp_path: Path, instance: Instance) -> None:
    good, keys = served(tmp_path, instance, 1), "# ben\nsecret-of-ben\n"
    instance.point("good", good)
    wanted = write_down(instance, with_keys(instance, some(tmp_path, 1), keys), keys, os.getgid())
    renew_good(instance, wanted, keys, os.getgid())
    assert (instance.named("good"), instance.proven(good)) == (good, 1)


def test_a_check_leaves_nothing_behind(instance: Instance) -> None:
    """Of what it left, the next run would take the tower for one that was changed before."""
    assert keys_digest(instance, KEYS, check=True) != keys_digest(instance, KEYS, check=True)
    assert not os.path.exists(os.path.dirname(instance.path))


def test_keys_that_are_broken_are_mended_in_their_place(tmp_path: Path, instance: Instance) -> None:
    identity = served(tmp_path, instance, 1)
    Path(instance.keys_path(identity)).write_text("")
    assert write_down(instance, some(tmp_path, 1), KEYS, os.getgid()) == identity
    assert Path(instance.keys_path(identity)).read_text() == KEYS
    assert instance.proven(identity) == 1, "the rest stays"


def test_nobody_goes_back_without_keys(tmp_path: Path, instance: Instance) -> None:
    """The server of a deployment without keys would serve everybody until it is asked without one."""
    served(tmp_path, instance, 1)
    served(tmp_path, instance, 2)
    instance.forget("current")
    with pytest.raises(DeploymentError, match="main has no API keys now"):
        former(instance, None, present_keys(instance))


def test_the_last_that_served_is_the_last_whatever_the_clock_says(tmp_path: Path, instance: Instance) -> None:
    """The first was proven while the clock was ahead, the third while it was not set."""
    first, second, third, fourth = (served(tmp_path, instance, number) for number in (4, 2, 1, 3))
    for number, identity in enumerate((first, second, third, fourth), 1):
        proven = Path(instance.directory(identity), "proven")
        moment = proven.stat().st_mtime
        proven.write_text(f"{number}\n")
        os.utime(proven, (moment, moment))
    assert instance.deployments() == [fourth, third, second, first]
    assert former(instance, None, KEYS)["context"] == 1
    assert sorted(prune(instance, 2, str(tmp_path / "instances"))) == sorted([first, second])


def test_a_store_that_is_reached_by_two_paths_loses_nothing(tmp_path: Path, instance: Instance) -> None:
    """One instance came while the store's directory was a link, another one since the variable names its target."""
    served(tmp_path, instance, 1)
    (tmp_path / "link").symlink_to("store")
    other = Instance("other", str(tmp_path / "instances"))
    found: Any = {
        **some(tmp_path, 2),
        "instance": "other",
        "model": {"name": "m", "directory": f"{tmp_path}/link/.pinned/m-2"},
    }
    other.point("current", write_down(other, found, KEYS, os.getgid()))
    for each in (instance, other):
        prune(each, 1, str(tmp_path / "instances"))
    assert sorted(os.listdir(tmp_path / "store/.pinned")) == ["m-1", "m-2"]


def test_nothing_is_removed_while_another_instance_has_what_cannot_be_read(tmp_path: Path, instance: Instance) -> None:
    for context in (1, 2, 3):
        served(tmp_path, instance, context)
    other = Instance("other", str(tmp_path / "instances"))
    identity = served(tmp_path, other, 4)
    Path(other.directory(identity), "deployment.json").write_text("{")
    with pytest.raises(UnreadableError, match="which engine and model it needs, and none is removed"):
        prune(instance, 1, str(tmp_path / "instances"))
    assert len(instance.deployments()) == 3
    assert sorted(os.listdir(tmp_path / "store/.pinned")) == ["engine", "m-1", "m-2", "m-3", "m-4"]


def test_one_goes_back_to_the_last_that_served_or_to_one_by_name(tmp_path: Path, instance: Instance) -> None:
    with pytest.raises(DeploymentError, match="only the current one served"):
        former(instance, None, KEYS)
    first, _second, _third = (served(tmp_path, instance, number) for number in (1, 2, 3))
    assert former(instance, None, KEYS)["context"] == 2
    assert former(instance, first, KEYS)["context"] == 1
    assert former(instance, None, KEYS)["keys"] == keys_digest(instance, KEYS)
    with pytest.raises(DeploymentError, match="There is no deployment never of main"):
        former(instance, "never", KEYS)
    (tmp_path / "store/.pinned/engine").rmdir()
    with pytest.raises(DeploymentError, match="engine, which is not there any more"):
        former(instance, None, KEYS)


def test_the_last_that_served_stay_with_their_models(tmp_path: Path, instance: Instance) -> None:
    first, second, third = (served(tmp_path, instance, number) for number in (1, 2, 3))
    never = write_down(instance, some(tmp_path, 4), KEYS, os.getgid())
    removed = prune(instance, 2, str(tmp_path / "instances"))
    assert sorted(removed) == sorted([first, never])
    assert instance.deployments() == [third, second]
    assert sorted(os.listdir(tmp_path / "store/.pinned")) == ["m-2", "m-3"]
