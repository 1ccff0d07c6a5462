"""ViLBERT from a list of image urls to region features and models. See README.md."""

import atexit
import json
import sys
from pathlib import Path

from snakemake.utils import min_version

from extract.section import demand_path
from vilbert.settings import PUBLISHED_TASKS
from workflow.allocations import IMAGES_MINUTES, Allocations, demand_whole, profile_defaults
from workflow.comparisons import Comparisons, any_of
from workflow.contents import Contents
from workflow.groups import check_groups_in_one_walk
from workflow.inputs import Inputs
from workflow.long_inputs import find_inputs_by_hash
from workflow.paths import demand_paths, demand_profile, demand_writable
from workflow.results import tell_results
from workflow.running import take_part
from workflow.settings import check, compared, digest_option, scaled, told
from workflow.submission import demand_submittable, remember_age, resubmit_preempted, submissions
from workflow.trainings import planned_trainings, prepare, warn_of_refusal

min_version("9.27")
shell.prefix("set -euo pipefail; exec ")  # a signal for the job is one for its command


configfile: Path(workflow.basedir) / "config.yaml"


demand_path(str(workflow.basedir))
SETTINGS = check(config)
demand_profile(sys.argv, Path(workflow.basedir))
demand_paths(SETTINGS)
demand_writable(Path.cwd())
check_groups_in_one_walk()
find_inputs_by_hash()
take_part(SETTINGS.run, state=Path(".snakemake"), is_main=workflow.is_main_process)
ALLOCATIONS = Allocations(SETTINGS, profile_defaults(workflow))
SPLITS = list(SETTINGS.source.splits)
RESULTS = f"results/{SETTINGS.run}"  # for params, where <results> does not stand
INPUTS = Inputs(SETTINGS, Contents(Path(RESULTS) / "contents", looks=workflow.is_main_process), results=RESULTS)


pathvars:
    results=RESULTS,
    logs=f"logs/{SETTINGS.run}",
    times=f"{RESULTS}/times",


container: "vilbert.sif"  # in the folder of the run; read with --software-deployment-method apptainer alone


wildcard_constraints:
    split="[A-Za-z0-9]+",
    shard=r"\d{5}",


localrules:
    all,
    features,


onstart:
    demand_whole(workflow.dag.needrun_jobs())
    if workflow.executor_plugin.name == "slurm":
        demand_submittable(submissions(workflow.dag))
        remember_age()
        resubmit_preempted()
    if not workflow.touch:  # which trains nothing
        prepare(
            planned_trainings(workflow.dag),
            earlier=Path(RESULTS) / "earlier",
            num_kept=SETTINGS.runtime.num_earlier_kept,
        )
        tell_results(workflow.dag)


atexit.register(warn_of_refusal, workflow, Path.cwd())


rule features:
    """Boxes and features of every image, the pairs that are clean, and a table of what was dropped."""
    input:
        pairs="<results>/pairs.parquet",
        dropped="<results>/dropped.parquet",
        stores=[f"<results>/features/{split}/{shard}.lmdb" for split in SPLITS for shard in SETTINGS.shards(split)],
        page="<results>/report/index.html",


rule all:
    """A pretrained model, and everything that the report shows of how it came about."""
    default_target: True
    input:
        rules.features.input,
        "<results>/pretrain/model",


include: f"workflow/rules/source_{SETTINGS.source.kind}.smk"
include: "workflow/rules/captions.smk"
include: "workflow/rules/images.smk"
include: "workflow/rules/detector.smk"
include: "workflow/rules/regions.smk"
include: "workflow/rules/pairs.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/finetune.smk"


if SETTINGS.finetuning.tasks:

    include: "workflow/rules/own_tasks.smk"


include: "workflow/rules/search.smk"
include: "workflow/rules/comparisons.smk"
include: "workflow/rules/examples.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/clean.smk"
