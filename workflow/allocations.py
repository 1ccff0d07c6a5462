"""What the rules with a GPU or several processes ask for: CPUs and memory follow the settings, the rest the profile."""

import builtins
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from workflow.settings import Settings
from workflow.submission import limits_of

SECONDS_TO_SAVE = 300  # before its time is up, a training is told to write a checkpoint
IMAGES_MINUTES = 300  # of the longest submission of the group `images`: a download, and the check of what it brought
EDIT_ME = "edit-me"  # stands in a profile where its user has to

NO_TYPE = "unspecified"  # of a GPU; not `any`, which Snakemake reads as Python's function


def profile_defaults(workflow: Any) -> dict[str, str]:
    """The default resources of the profile, as they stand there.

    Raises: ValueError if the user has not filled them in, or if Snakemake would take one for something of Python's.
    """
    declared = workflow.resource_settings.default_resources or {}
    raw = {name: str(declared[name].raw) for name in declared}
    for name, value in raw.items():
        if callable(getattr(builtins, value, None)):
            raise ValueError(
                f"{name} is {value} in the profile, which Snakemake reads as Python; "
                f"quote it twice: `{name}: \"'{value}'\"`"
            )
    defaults = {name: re.sub(r"""^(['"])([^'"]*)\1$""", r"\2", value) for name, value in raw.items()}
    if unfilled := [name for name, value in defaults.items() if value == EDIT_ME]:
        raise ValueError(
            f"{' and '.join(unfilled)}: still {EDIT_ME} in profile.yaml of the profile that you start with; "
            "`sinfo` lists the partitions, `sacctmgr show associations user=$USER` your accounts"
        )
    return defaults


class Allocations:
    """Of the rules of one run."""

    def __init__(self, settings: Settings, defaults: Mapping[str, str]) -> None:
        self.settings, self.defaults = settings, defaults
        self.nodes = settings.nodes_per_training

    @property
    def training_threads(self) -> int:
        """CPUs of a training on each of its nodes: one a process and one each that reads for it."""
        processes = self._processes_per_node(self.settings.gpus_per_training)
        return max(2, processes * (1 + self.settings.runtime.num_workers))

    @property
    def detecting_threads(self) -> int:
        """An H100 takes 100 images/s, each 16 ms of decoding, resizing, choosing."""
        return max(1, 8 * self.settings.gpus_per_job)

    def minutes(self, amount: int, *, together: int | None = None, gpus: int = 0) -> Callable[[Any, int], int]:
        """Time of a job that begins anew at each attempt.

        Args:
            together: minutes of all jobs that are submitted with it, one after the other; null: it is alone.
        """
        return self._growing(amount, "minutes", together=together, gpus=gpus)

    def training(self, *, runtime: int) -> dict[str, Any]:
        """Resources of a training, memory by the node. One that runs out of time or is preempted goes on where it was,
        so no attempt gets more time than the first; nor three times the memory, which nodes may not have.

        Args:
            runtime: minutes.
        """
        gpus = self.settings.gpus_per_training
        processes = self._processes_per_node(gpus)
        per_process = (10_000 if gpus else 2000) + 1000 * self.settings.runtime.num_workers
        extra = [self.defaults.get("slurm_extra", ""), f"--signal=TERM@{SECONDS_TO_SAVE}"]
        if self.nodes > 1 and gpus:
            extra.append(f"--gpus-per-node={self._typed(gpus // self.nodes)}")
        return {
            "mem_mb": self._growing(2000 + processes * per_process, "megabytes", most=2, gpus=gpus),
            "runtime": runtime,
            "slurm_extra": " ".join(part for part in extra if part),
            **self._on_gpus(gpus),
            "nodes": self.nodes,
            **self._by_srun_of_its_own(),
        }

    def detecting(self, *, runtime: int) -> dict[str, Any]:
        """Resources of a job of the detector."""
        gpus = self.settings.gpus_per_job
        return self._anew(4000 + 4000 * gpus, runtime, gpus=gpus)

    def scoring(self, *, runtime: int) -> dict[str, Any]:
        """Resources of one process that asks a trained model, on a GPU where trainings have some."""
        gpus = min(1, self.settings.gpus_per_training)
        return self._anew(4000 + 8000 * gpus, runtime, gpus=gpus)

    def processes(self, wildcards: Any, resources: Any) -> int:
        """Of a training on each of its nodes, for a rule's params: one a GPU, or as many as the settings say."""
        return self._processes_per_node(resources.gpu)

    @property
    def _gpu_type(self) -> str | None:
        return kind if (kind := self.defaults.get("gpu_type", NO_TYPE)) != NO_TYPE else None

    def _processes_per_node(self, gpus: int) -> int:
        return (gpus or self.settings.processes_per_training) // self.nodes

    def _anew(self, megabytes: int, minutes: int, *, gpus: int) -> dict[str, Any]:
        """Resources of one process that begins anew at each attempt."""
        memory = self._growing(megabytes, "megabytes", gpus=gpus)
        return {"mem_mb": memory, "runtime": self.minutes(minutes, gpus=gpus), **self._on_gpus(gpus)}

    def _growing(
        self,
        amount: int,
        what: Literal["minutes", "megabytes"],
        *,
        most: int = 3,
        together: int | None = None,
        gpus: int = 0,
    ) -> Callable[[Any, int], int]:
        """So much, and as much again at each further attempt, up to `most` times or what the partition has.

        Slurm refuses a job that asks for more memory than a node has, and lets one that asks for more time wait for
        ever.
        """
        partition = self.defaults.get("gpu_partition" if gpus else "slurm_partition")

        def of_attempt(wildcards: Any, attempt: int) -> int:
            times: float = min(attempt, most)
            if times > 1 and partition and (limit := getattr(limits_of(partition), what)):
                times = max(1, min(times, limit / (together or amount)))
            return int(amount * times)

        return of_attempt

    def _on_gpus(self, gpus: int) -> dict[str, Any]:
        """GPUs over all nodes, and the partition that has them.

        A job without GPUs is one task, and so of one node. It names none: the nodes of jobs that are submitted as one
        would be added up.
        """
        resources: dict[str, Any] = {"gpu": gpus, "nodes": 1}
        if gpus and "gpu_partition" in self.defaults:
            resources["slurm_partition"] = self.defaults["gpu_partition"]
        if gpus and self._gpu_type:
            resources["gpu_model"] = self._gpu_type
        return resources

    def _typed(self, gpus: int) -> str:
        return f"{self._gpu_type}:{gpus}" if self._gpu_type else str(gpus)

    def _by_srun_of_its_own(self) -> dict[str, Any]:
        """What keeps Snakemake's Slurm plugin from starting a rule of several nodes by srun, which the rule does."""
        if self.nodes == 1:
            return {}
        return {"mpi": "srun", "tasks": self.nodes, "tasks_per_gpu": 0}  # 0: not so many tasks a GPU


def demand_whole(jobs: Iterable[Any]) -> None:
    """Raises: ValueError for a job that gets fewer GPUs than its rule asks for: Snakemake cuts it to what the machine
    or the profile has.
    """
    if (objection := next(filter(None, map(objection_to_gpus, jobs)), None)) is not None:
        raise ValueError(objection)


def objection_to_gpus(job: Any) -> str | None:
    """What is wrong with those that a job gets, and what to type; None: nothing."""
    asked, given = job.rule.resources.get("gpu"), job.resources.get("gpu", 0)
    if asked is None or asked.is_evaluable() or (asked.value or 0) <= given:
        return None
    return (
        f"{job.rule.name} asks for {asked.value} GPUs and would get {given}: on this machine, add "
        f"`--resources gpu={asked.value}` to the command; under Slurm, start with "
        "`--workflow-profile workflow/profiles/slurm` in place of `--profile`, which leaves the default one on"
    )
