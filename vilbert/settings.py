"""The settings of every stage from the feature stores on: config.yaml, checked before the first job.

Imported while Snakemake parses, so nothing heavy is imported here. No field has a default, as in `extract.settings`,
but those of a task of one's own, for which config.yaml has no place.
"""

import re
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, field_validator

from extract.section import MANNER, Count, FilePath, Fraction, Section, demand_pattern
from vilbert.comparison_settings import ComparisonSettings

Weight = Annotated[float, Field(ge=0)]
# Raised when the same data and settings give another model than before: trainings of the version before are made anew.
TRAINING_VERSION = 1
DISTILLATION_VERSION = 2  # the same of dual encoders alone


def demand_folder_of_node(path: str) -> str:
    """Raises: ValueError for a path that depends on the folder that a command runs in, or no shell could name."""
    if not path.startswith(("/", "$")) or re.search(r"[\x00-\x1f\x7f]", path):
        raise ValueError(f"is {path!r}, expected an absolute path or one that begins with a variable, such as $TMPDIR")
    return path


class TextSettings(Section):
    """How captions become tokens."""

    tokenizer: str | None = Field(description="folder or hub name; null: WordPieces made from the captions")
    vocab_size: PositiveInt = Field(description="of a tokenizer that is made from the captions")
    max_tokens: Annotated[int, Field(ge=3)] = Field(description="of a caption, with [CLS] and [SEP]; the rest is cut")


class ModelSettings(Section):
    """Sizes of the model; the names are VilbertConfig's. A single stream has the text stream's sizes."""

    architecture: Literal["two_stream", "single_stream"]
    text_init: str | None = Field(description="BERT weights for the text stream: folder or hub name; null: random")
    visual_feature_size: PositiveInt = Field(description="what the feature stores have to hold")
    visual_target: Literal["classes", "features", "contrastive"] = Field(
        description="what is asked of a masked region: the detector's class distribution, its feature, or which of 129 "
        "features, most of them of other images, is its own"
    )
    visual_embedding_norm: Literal["joint", "apart"] = Field(
        description="joint: a region's feature and place are summed, then normalised, as in the paper; apart: each is "
        "normalised first, so that small numbers count as much as large ones"
    )
    text_hidden_size: PositiveInt
    text_num_layers: PositiveInt
    text_num_heads: PositiveInt
    text_intermediate_size: PositiveInt
    visual_hidden_size: PositiveInt
    visual_num_layers: PositiveInt
    visual_num_heads: PositiveInt
    visual_intermediate_size: PositiveInt
    co_hidden_size: PositiveInt
    co_num_heads: PositiveInt
    text_co_layers: tuple[Count, ...] = Field(description="text layers that a co-attention layer comes before")
    visual_co_layers: tuple[Count, ...] = Field(description="visual layers that a co-attention layer comes before")
    fusion: Literal["mul", "sum"] = Field(
        description="mul: the alignment head reads the product of the two pooled streams, as in the paper; sum: their "
        "sum; of two streams alone"
    )
    dropout: Fraction
    initializer_range: PositiveFloat = Field(
        description="standard deviation of new weights; BERT's 0.02 is for a width of 768, narrow layers need more"
    )


class LateSettings(Section):
    """What pretraining asks from some epoch on in place of what it asked before."""

    from_epoch: Count = Field(description="the first of them; epochs count from 0")
    mismatch_probability: Fraction
    contrast_words: tuple[tuple[str, ...], ...]
    changed_share: Fraction = Field(
        description="of the mismatched captions, those that are the image's own with a contrast word changed"
    )


class ObjectiveSettings(Section):
    """What pretraining asks of the model."""

    token_mask_probability: Fraction
    region_mask_probability: Fraction
    mask_overlap_iou: Fraction | None = Field(
        description="regions that overlap a masked one by more are hidden as well; null: none is, as in the paper"
    )
    mismatch_probability: Fraction = Field(description="share of the images that get the caption of another one")
    contrast_words: tuple[tuple[str, ...], ...] = Field(
        description="groups of words that exclude each other, such as [left, right]; none of several tokens"
    )
    contrast_mask_probability: Fraction | None = Field(
        description="of a token that is a contrast word; null: as any other, as in the paper"
    )
    late: LateSettings | None = Field(
        description="from some epoch on: other contrast words, and captions with one of them changed; null: all epochs "
        "ask for the same, as in the paper"
    )
    masked_losses_on: Literal["aligned", "all"] = Field(
        description="pairs that the masked losses are taken of; all: as in the paper"
    )
    masked_token: Weight = Field(description="weight of this loss")
    masked_region: Weight = Field(description="weight of this loss")
    alignment: Weight = Field(description="weight of this loss")


class OptimizerSettings(Section):
    """AdamW with one learning rate, linear warm-up and decay."""

    batch_size: PositiveInt = Field(description="pairs a step, over all devices")
    num_epochs: PositiveFloat = Field(description="passes over the training pairs; the schedule ends with them")
    learning_rate: PositiveFloat
    warmup_share: Fraction = Field(description="of the steps")
    weight_decay: Weight = Field(description="of matrices; biases and norms have none")
    beta2: Annotated[float, Field(gt=0, lt=1)]
    max_gradient_norm: PositiveFloat


class EvaluationSettings(Section):
    """What is measured while the model learns, on the validation split."""

    every_steps: PositiveInt
    num_pairs: PositiveInt = Field(description="that the losses and accuracies are taken of")
    num_retrieval_images: PositiveInt = Field(description="each with one caption: every caption ranks them all")


class PretrainingSettings(Section):
    """Pretraining."""

    seed: Count
    train_split: str = Field(description="of `source.splits`; of a picture in two splits, it loses its copy")
    validation_split: str
    objective: ObjectiveSettings
    optimizer: OptimizerSettings
    evaluation: EvaluationSettings


class VqaSplitSettings(Section):
    """Files of one split of VQA v2, below `finetuning.annotations`."""

    questions: FilePath
    annotations: FilePath | None = Field(description="null for a test set")
    image_key: Annotated[str, AfterValidator(partial(demand_pattern, field="image_id"))] = Field(
        description="name of an image's file without suffix, such as COCO_val2014_{image_id:012d}"
    )


class VqaSettings(Section):
    """Visual question answering."""

    train: tuple[VqaSplitSettings, ...]
    validation: VqaSplitSettings
    test: VqaSplitSettings | None = Field(description="answered for the challenge's server; null: none")
    minival_size: Count = Field(
        description="questions of the validation split that are kept back for evaluation, the others are trained on; "
        "0: the whole split is for evaluation"
    )
    answers: FilePath | None = Field(description="list of the answers; null: made of the annotations")
    min_answer_count: PositiveInt = Field(description="times that an answer has to be a question's most frequent one")
    max_tokens: Annotated[int, Field(ge=3)]
    optimizer: OptimizerSettings


class VcrSettings(Section):
    """Visual commonsense reasoning."""

    train: FilePath
    validation: FilePath
    test: FilePath | None = Field(description="answered for the leaderboard; null: none")
    metadata: FilePath = Field(description="folder of the images' json files with the boxes of the objects")
    max_tokens: Annotated[int, Field(ge=4)] = Field(description="of a question with a choice")
    optimizer: OptimizerSettings


class RefCocoSettings(Section):
    """Referring expressions."""

    refs: FilePath = Field(description="refs(unc).p or its like")
    instances: FilePath = Field(description="COCO's instances.json, with the boxes")
    detections: FilePath | None = Field(
        description="boxes to choose from, such as MAttNet's; null: those that this run's detector finds"
    )
    validation_splits: tuple[str, ...] = Field(description="that are measured at the end")
    max_tokens: Annotated[int, Field(ge=3)]
    optimizer: OptimizerSettings


class RetrievalSettings(Section):
    """Caption-based image retrieval."""

    captions: FilePath = Field(description="Karpathy's dataset_flickr30k.json or dataset_coco.json")
    validation_split: str
    max_tokens: Annotated[int, Field(ge=3)]
    optimizer: OptimizerSettings


# Lu et al. 2019, section 3.3, but for the batch: one's own examples are fewer.
OWN_OPTIMIZER = OptimizerSettings(
    batch_size=32,
    num_epochs=10,
    learning_rate=4e-5,
    warmup_share=0.1,
    weight_decay=0.01,
    beta2=0.999,
    max_gradient_norm=1,
)


class OwnTaskSettings(Section):
    """A task of your own: a table of pictures, and what is right of them."""

    kind: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]*$")] = Field(
        description="classification, vqa, retrieval, grounding, snli_ve, or a module of yours, such as my_tasks.nlvr2"
    )
    table: FilePath = Field(description="csv with a row an example, below `finetuning.annotations`")
    held_out: Fraction = Field(
        default=0.1, description="share of the pictures that is measured on, where the table has no column `split`"
    )
    separator: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="between several labels or answers of a row, such as /; null: each row has one"
    )
    class_weights: Literal["balanced"] | None = Field(
        default=None, description="of a classification's loss; balanced: the rarer a label, the more it weighs"
    )
    max_tokens: Annotated[int, Field(ge=3)] = Field(default=40, description="of a text; longer ones are cut")
    optimizer: OptimizerSettings = Field(default=OWN_OPTIMIZER, description="what it leaves out is as here")

    @field_validator("optimizer", mode="before")
    @classmethod
    def _the_rest_is_as_usual(cls, optimizer: Any) -> Any:
        return OWN_OPTIMIZER.model_dump() | optimizer if isinstance(optimizer, dict) else optimizer


PUBLISHED_TASKS = ("vqa", "vcr", "refcoco", "retrieval")
OwnTaskName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]


class FinetuningSettings(Section):
    """The fine-tunes, each from the pretrained model."""

    seed: Count
    start_from: Annotated[FilePath | None, MANNER] = Field(
        description="model directory, such as an imported checkpoint; null: this run's own"
    )
    annotations: Annotated[FilePath | None, MANNER] = Field(
        description="folder of the annotation files; null: the drawn world's"
    )
    images: Annotated[FilePath | None, MANNER] = Field(
        description="folder of the images that they speak of; null: the drawn world's"
    )
    features: Annotated[FilePath | None, MANNER] = Field(
        description="feature store of these images, such as an imported one; null: their regions are extracted"
    )
    vqa: VqaSettings | None = Field(description="null: this task has no files")
    vcr: VcrSettings | None = Field(description="null: this task has no files")
    refcoco: RefCocoSettings | None = Field(description="null: this task has no files")
    retrieval: RetrievalSettings | None = Field(description="null: this task has no files")
    probes: FilePath | None = Field(
        description="csv with the columns image, caption, foil and kind, below the annotations' folder; null: none"
    )

    tasks: dict[OwnTaskName, OwnTaskSettings] = Field(description="tasks of your own, by name")

    @field_validator("tasks")
    @classmethod
    def _names_are_free(cls, tasks: dict[str, OwnTaskSettings]) -> dict[str, OwnTaskSettings]:
        taken = {*PUBLISHED_TASKS, "task", "cell", "attention", "pretraining", "zero_shot_retrieval"} & tasks.keys()
        if taken:
            raise ValueError(f"'{min(taken)}' is the name of a task or rule that there is; give yours another")
        return tasks

    def of(self, task: str) -> "FinetuningSettings":
        """With the section of one task alone.

        Raises: ValueError if there is none.
        """
        section = self.section(task)
        own = {task: section} if task in self.tasks else {}
        return self.model_copy(update=dict.fromkeys({*PUBLISHED_TASKS, "probes"} - {task}) | {"tasks": own})

    def section(self, task: str) -> Any:
        """The settings of one task, a published one's or of one's own.

        Raises: ValueError if there are none.
        """
        if task in self.tasks:
            return self.tasks[task]
        if task not in PUBLISHED_TASKS:
            raise ValueError(f"finetuning.tasks has no '{task}', but {', '.join(self.tasks) or 'nothing'}")
        if getattr(self, task) is None:
            raise ValueError(f"finetuning.{task} is null: name the task's files there")
        return getattr(self, task)

    def given(self) -> list[str]:
        """The tasks that have files, published ones first."""
        return [*(task for task in PUBLISHED_TASKS if getattr(self, task) is not None), *self.tasks]


def pretraining_made_of(model: ModelSettings, settings: PretrainingSettings, *, share: float = 1) -> dict[str, Any]:
    """What of the settings makes one pretraining another, with the version of the code that trains.

    Args:
        share: of the training images.
    """
    return {
        "version": TRAINING_VERSION,
        "model": model.model_copy(update={"text_init": None}).made_of(),  # which is an input
        "pretraining": settings.made_of(),
    } | ({"share": share} if share < 1 else {})


def finetuning_made_of(task: str, settings: FinetuningSettings) -> dict[str, Any]:
    """The same of a fine-tune."""
    return {
        "version": TRAINING_VERSION,
        "task": task,
        "has_new_weights": False,  # of before 2026-11-28, when it could be true: without it, all would be made anew
        "finetuning": {"seed": settings.seed, task: settings.section(task).made_of()},
    }


class SearchSettings(Section):
    """A dual encoder that learns from a model's scores, an index of images, and what is measured of both."""

    seed: Count
    teacher: Literal["pretrained", "retrieval"] = Field(
        description="pretrained: the model that fine-tunes start from, by its alignment head; retrieval: that "
        "fine-tune of this run"
    )
    embedding_size: PositiveInt = Field(description="numbers of a text, and of an image")
    temperature: PositiveFloat = Field(description="of the softmax over images, or texts, at first; it is learnt")
    num_mined: PositiveInt = Field(
        description="images nearest to each caption, and captions to each image, that hard ones are drawn from; found "
        "anew after each epoch"
    )
    num_hard: PositiveInt = Field(description="of them, each time, beside the right one")
    num_distilled: PositiveInt = Field(
        description="examples of each step whose hard ones the teacher is asked about; all of them take "
        "batch_size / num_distilled times as long"
    )
    contrastive: Weight = Field(description="weight of this loss")
    distillation: Weight = Field(description="weight of this loss")
    optimizer: OptimizerSettings
    index: Annotated[str, Field(pattern=r"^[A-Za-z0-9_,()+-]+$"), MANNER] = Field(
        description="kind of index by faiss's factory; Flat: every image is looked at"
    )
    num_images: Annotated[PositiveInt, MANNER] = Field(
        description="that are searched when it is measured: those of the validation split, then of the training split; "
        "fewer if there are no more"
    )
    num_queries: Annotated[PositiveInt, MANNER] = Field(
        description="captions of the validation split that search them, evenly spread"
    )
    reranked: Annotated[tuple[PositiveInt, ...], MANNER] = Field(
        description="numbers of best images that are put in order anew with the teacher's scores"
    )


def distillation_made_of(settings: SearchSettings, *, splits: tuple[str, str]) -> dict[str, Any]:
    """The same of a dual encoder; what it is measured by makes it no other."""
    return {"version": DISTILLATION_VERSION, "search": settings.made_of(), "splits": list(splits)}


class RuntimeSettings(Section):
    """How trainings are run. Nothing here changes what is learnt, so a training goes on under other values."""

    micro_batch_size: PositiveInt = Field(description="examples at most that go through a device together")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        description="of the matrix products; auto: bfloat16 on a GPU that has it, and on a CPU with AMX where it "
        "is faster, which is timed; a training goes on in the type that it began in"
    )
    num_workers: Count = Field(description="processes a device that read features; 0: the training's own")
    compile: bool | Literal["auto", "graphs"] = Field(
        description="compile the transformer layers, and pad to few widths, since each is compiled anew, in some ten "
        "seconds; auto: on a GPU; graphs: and record what they launch on a GPU, to repeat it in one go, which nobody "
        "has measured"
    )
    gradient_checkpointing: bool = Field(description="less memory for a third more work")
    fsdp: bool = Field(description="spread weights and optimizer over the devices")
    peak_tflops: PositiveFloat | None = Field(
        description="of one device, for the utilisation in the logs; null: none is logged"
    )
    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = Field(
        description="that the metrics go to besides metrics.jsonl; wandb and trackio have to be installed"
    )
    log_every_steps: PositiveInt
    checkpoint_minutes: PositiveFloat | None = Field(description="from one to the next; null: not by the clock")
    checkpoint_steps: PositiveInt | None = Field(description="the same in steps; null: not by steps")
    num_checkpoints_kept: PositiveInt = Field(description="the newest")
    num_earlier_kept: Count = Field(
        description="trainings of one name in results/<run>/earlier/, where the one before goes when another begins"
    )
    scratch: Annotated[str, AfterValidator(demand_folder_of_node)] | None = Field(
        description="folder on each node's own disk, such as /scratch or $TMPDIR, by the variables of the node: stores "
        "that fit there are copied before a training reads them, and removed when it ends; null: they are read where "
        "they lie"
    )


class VilbertSettings(Section):
    """Every section from the feature stores on."""

    text: TextSettings
    model: ModelSettings
    pretraining: PretrainingSettings
    finetuning: FinetuningSettings
    search: SearchSettings
    comparison: ComparisonSettings
    runtime: RuntimeSettings
