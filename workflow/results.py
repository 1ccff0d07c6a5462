"""What a training or an evaluation has come to, told in the terminal as soon as its job has ended.

Rules write to their logs, and on a cluster the job's terminal is another machine's. Snakemake's process, which was
started in the user's terminal, logs that a job has ended, whatever is run beside it and whatever `--quiet` leaves out.
"""

import csv
import json
import logging
import sys
from pathlib import Path
from typing import Any

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from extract.terminal import plain_table
from workflow.trainings import TRAINING_RULES

EVALUATING_RULES = ("zero_shot_retrieval", "probe", "measure_search", "zero_shot_cell", "compare_cells")


def tell_results(dag: Any) -> None:
    """Print a table on stdout whenever one of the jobs of a DAG of Snakemake's ends that train or evaluate."""
    outputs = {}
    for job in dag.needrun_jobs():
        path = job.output.get("baselines")
        if job.rule.name in EVALUATING_RULES:
            outputs[job.jobid] = Path(path or job.output[0])
        elif job.rule.name in TRAINING_RULES and path:  # without one, it is measured by a rule of its own
            outputs[job.jobid] = Path(path)
    logger.addHandler(Teller(outputs))


class Teller(logging.Handler):
    """What hears that jobs have ended.

    Args:
        outputs: the file of measures, by the number of the job.
    """

    def __init__(self, outputs: dict[int, Path]) -> None:
        super().__init__()
        self.outputs = outputs

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises: what is only told must not end a run."""
        path = self.outputs.get(getattr(record, "job_id", None))
        if path is not None and getattr(record, "event", None) == LogEvent.JOB_FINISHED:
            try:
                print(f"\n{path}:\n{plain_table(read_measures(path))}\n", flush=True)
            except (OSError, ValueError, LookupError) as error:
                print(f"{path} cannot be told: {error}", file=sys.stderr)


def read_measures(path: Path) -> list[dict]:
    """Rows of baselines.json, or of a csv."""
    if path.suffix == ".json":
        return json.loads(path.read_text())
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
