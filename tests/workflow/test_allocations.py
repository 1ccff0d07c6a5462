import copy
import os

import pytest
import yaml
from places import ROOT

from workflow.allocations import Allocations
from workflow.settings import check

DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())
PROFILE = {"slurm_partition": "long", "gpu_partition": "accel", "gpu_type": "a100"}


def allocations(*, num_workers: int = 0, profile: dict[str, str] = PROFILE, **settings: int) -> Allocations:
    config = copy.deepcopy(DEFAULT) | settings
    config["runtime"]["num_workers"] = num_workers
    return Allocations(check(config), profile)


def test_cpus_and_memory_grow_with_gpus_and_the_processes_that_read():
    asked = allocations(gpus_per_training=6, nodes_per_training=2, num_workers=4)
    assert asked.training_threads == 3 * (1 + 4)
    training = asked.training(runtime=70)
    assert [training["mem_mb"](None, attempt) for attempt in (1, 2, 3)] == [44_000, 88_000, 88_000]


def test_no_attempt_of_a_training_gets_more_time_as_it_goes_on_where_it_was():
    assert allocations().training(runtime=70)["runtime"] == 70


@pytest.fixture
def small_cluster(tmp_path, monkeypatch) -> dict[str, str]:
    """A profile whose partitions give 700 minutes and nodes of 30 GB, with GPUs half of both."""
    (tmp_path / "sinfo").write_text("#!/bin/sh\n[ $4 = cpus ] && echo 11:40:00 30000 || echo 5:50:00 15000\n")
    (tmp_path / "sinfo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return {"slurm_partition": "cpus", "gpu_partition": "gpus"}


def test_no_further_attempt_asks_for_more_than_the_partition_has(small_cluster):
    """Slurm would let it wait for ever, or refuse it."""
    asked = allocations(gpus_per_job=1, gpus_per_training=1, profile=small_cluster)
    detecting, training = asked.detecting(runtime=240), asked.training(runtime=350)
    assert [detecting["runtime"](None, attempt) for attempt in (1, 2, 3)] == [240, 350, 350]
    assert [detecting["mem_mb"](None, attempt) for attempt in (1, 2, 3)] == [8000, 15_000, 15_000]
    assert [training["mem_mb"](None, attempt) for attempt in (1, 2, 3)] == [12_000, 15_000, 15_000]
    assert [asked.minutes(200)(None, attempt) for attempt in (1, 2, 3)] == [200, 400, 600]
    assert [asked.minutes(300)(None, attempt) for attempt in (1, 2, 3)] == [300, 600, 700]


def test_jobs_that_are_submitted_as_one_share_the_time_of_the_partition(small_cluster):
    """A download of 240 minutes, which goes on where it was, and a check of 60 behind it: 300 grow as a whole would."""
    check = allocations(profile=small_cluster).minutes(60, together=300)
    assert [check(None, attempt) for attempt in (1, 2, 3)] == [60, 120, 140]


def test_a_first_attempt_asks_for_what_it_needs_and_no_scheduler_bounds_nothing(small_cluster):
    assert allocations(profile=small_cluster).minutes(701)(None, 1) == 701
    assert allocations(profile={}).minutes(701)(None, 3) == 2103


def test_gpu_jobs_go_where_the_gpus_are_and_say_of_which_kind():
    asked = allocations(gpus_per_job=1, gpus_per_training=6, nodes_per_training=2)
    for request, gpus in (
        (asked.training(runtime=1), 6),
        (asked.detecting(runtime=1), 1),
        (asked.scoring(runtime=1), 1),
    ):
        assert (request["gpu"], request["gpu_model"], request["slurm_partition"]) == (gpus, "a100", "accel")
    assert asked.training(runtime=1)["slurm_extra"] == "--signal=TERM@300 --gpus-per-node=a100:3"


def test_other_jobs_leave_the_partition_to_the_profile():
    asked = allocations(gpus_per_job=0, gpus_per_training=0)
    for request in (asked.training(runtime=1), asked.detecting(runtime=1), asked.scoring(runtime=1)):
        assert request["gpu"] == 0
        assert not {"gpu_model", "slurm_partition"} & request.keys()


def test_a_type_of_gpu_that_is_not_named_is_none_that_is_asked_for():
    assert "gpu_model" not in allocations(gpus_per_job=1, profile=PROFILE | {"gpu_type": "unspecified"}).detecting(
        runtime=1
    )


def test_what_the_profile_adds_to_every_job_stays():
    extra = allocations(profile={"slurm_extra": "--exclude=node7"}).training(runtime=1)["slurm_extra"]
    assert extra == "--exclude=node7 --signal=TERM@300"


def test_slurm_starts_one_process_a_node_only_where_there_are_several():
    several = allocations(gpus_per_training=6, nodes_per_training=3).training(runtime=1)
    assert (several["nodes"], several["tasks"], several["mpi"]) == (3, 3, "srun")
    assert "mpi" not in allocations(gpus_per_training=6).training(runtime=1)


@pytest.mark.parametrize(
    ("settings", "share"),
    [({"gpus_per_training": 3}, "gpus_per_training, 3"), ({"processes_per_training": 5}, "processes_per_training, 5")],
)
def test_nodes_that_could_not_share_evenly_are_refused(settings, share):
    with pytest.raises(ValueError, match=f"nodes_per_training is 2: expected a divisor of {share}"):
        allocations(nodes_per_training=2, **settings)
