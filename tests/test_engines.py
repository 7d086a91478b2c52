"""What a job may say of its engine: whatever is for Ray alone is refused elsewhere, and says how to mend it."""

from typing import Any

import pytest
from pydantic import ValidationError

from nas.resources import ResourcesSpec
from nas.spec import ENGINES, JobSpec


def job(**body: Any) -> JobSpec:
    return JobSpec.model_validate({"dataset": "squares"} | body)


def error(**body: Any) -> tuple[str, str]:
    """(where, what is said) of the one thing that is wrong."""
    with pytest.raises(ValidationError) as caught:
        job(**body)
    [found] = caught.value.errors()
    return ".".join(str(part) for part in found["loc"]), found["msg"]


def test_a_job_runs_in_our_workers_unless_it_asks_for_ray() -> None:
    assert set(ENGINES) == {"optuna", "ray"}
    assert job().engine == "optuna"
    assert job(engine="ray").engine == "ray"
    assert error(engine="slurm") == ("engine", "Value error, allowed: optuna, ray")


def test_a_trial_on_ray_takes_a_cpu_unless_it_says_more() -> None:
    assert job(engine="ray").resources == ResourcesSpec(cpus=1.0, gpus=0.0, custom={})
    asked = {"cpus": 2, "gpus": 0.25, "custom": {"a100": 1}}
    assert job(engine="ray", resources=asked).resources == ResourcesSpec(cpus=2.0, gpus=0.25, custom={"a100": 1.0})


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"resources": {"gpus": 1}}, "resources"),
        ({"scheduler": "asha"}, "scheduler"),
        ({"scheduler": {"method": "asha"}, "pruning": "none"}, "scheduler"),
    ],
)
def test_what_is_for_ray_alone_is_refused_elsewhere(body: dict[str, Any], where: str) -> None:
    assert error(**body) == (where, "engine 'optuna' has none; leave it out, or set engine: ray")


@pytest.mark.parametrize(
    ("resources", "where", "said"),
    [
        ({"cpus": 0}, "cpus", "greater than 0"),
        ({"cpus": 1.5}, "cpus", "above 1 it has to be a whole number"),
        ({"gpus": -1}, "gpus", "greater than or equal to 0"),
        ({"gpus": 2.5}, "gpus", "above 1 it has to be a whole number"),
        ({"gpus": 0.33333}, "gpus", "four digits after the point"),
        ({"cpus": float("inf")}, "cpus", "finite"),
        ({"custom": {"a100": 0}}, "custom.a100", "greater than 0"),
        ({"custom": {"GPU": 1}}, "custom.GPU.[key]", "say resources.gpus"),
        ({"custom": {"memory": 1}}, "custom.memory.[key]", "cannot be asked for"),
        ({"custom": {"": 1}}, "custom..[key]", "should match pattern"),
        ({"memory": 1}, "memory", "Extra inputs"),
    ],
)
def test_resources_that_ray_could_not_give_are_refused(resources: dict[str, Any], where: str, said: str) -> None:
    found = error(engine="ray", resources=resources)
    assert found[0] == f"resources.{where}"
    assert said in found[1]


def test_a_job_for_gpus_asks_ray_for_some() -> None:
    assert error(engine="ray", device="gpu")[0] == "resources.gpus"
    assert error(engine="ray", device="cpu", resources={"gpus": 1})[0] == "resources.gpus"
    assert job(engine="ray", device="gpu", resources={"gpus": 0.5}).device == "gpu"


@pytest.mark.parametrize("scheduler", ["asha", "hyperband", {"method": "asha"}])
def test_rays_scheduler_takes_the_place_of_pruning(scheduler: Any) -> None:
    assert job(engine="ray").pruning.method == "halving"
    found = job(engine="ray", scheduler=scheduler)
    assert found.pruning.method == "none"
    assert JobSpec.model_validate(found.model_dump(mode="json")) == found
    where, said = error(engine="ray", scheduler=scheduler, pruning="median")
    assert (where, "leave scheduler out" in said) == ("pruning.method", True)


def test_a_network_may_be_trained_by_several_devices_in_either_engine() -> None:
    assert job().final.devices == 1
    for engine in ENGINES:
        assert job(engine=engine, final={"devices": 4}).final.devices == 4
    assert error(final={"devices": 0})[0] == "final.devices"
