"""The settings of every stage from the feature stores on: config.yaml, checked before the first job.

Imported while Snakemake parses, so nothing heavy is imported here. No field has a default, as in `extract.settings`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """A part of config.yaml: keys that it does not know are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TextSettings(Section):
    """How captions become tokens."""

    tokenizer: str | None = Field(description="folder or hub name; null: WordPieces made from the captions")
    vocab_size: PositiveInt = Field(description="of a tokenizer that is made from the captions")
    max_tokens: Annotated[int, Field(ge=3)] = Field(description="a caption, with [CLS] and [SEP]; the rest is cut")


class ModelSettings(Section):
    """Sizes of the model; the names are VilbertConfig's."""

    architecture: Literal["two_stream", "single_stream"]
    text_init: str | None = Field(description="BERT weights for the text stream: folder or hub name; null: random")
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
    dropout: Fraction


class ObjectiveSettings(Section):
    """What pretraining asks of the model."""

    token_mask_probability: Fraction
    region_mask_probability: Fraction
    mask_overlap_iou: Fraction | None = Field(
        description="regions that overlap a masked one by more are hidden as well; null: as in the paper, none is"
    )
    mismatch_probability: Fraction = Field(description="share of the images that get the caption of another one")
    masked_losses_on: Literal["aligned", "all"] = Field(description="pairs that the masked losses are taken of")
    masked_token: Annotated[float, Field(ge=0)] = Field(description="weight of this loss")
    masked_region: Annotated[float, Field(ge=0)] = Field(description="weight of this loss")
    alignment: Annotated[float, Field(ge=0)] = Field(description="weight of this loss")


class OptimizerSettings(Section):
    """AdamW with one learning rate, linear warm-up and decay."""

    batch_size: PositiveInt = Field(description="pairs a step, over all devices")
    num_epochs: PositiveFloat = Field(description="passes over the training pairs; the schedule ends with them")
    learning_rate: PositiveFloat
    warmup_share: Fraction = Field(description="of the steps")
    weight_decay: Annotated[float, Field(ge=0)] = Field(description="of matrices; biases and norms have none")
    beta2: Annotated[float, Field(gt=0, lt=1)]
    max_gradient_norm: PositiveFloat


class EvaluationSettings(Section):
    """What is measured while the model learns, on the validation split."""

    every_steps: PositiveInt
    num_pairs: PositiveInt = Field(description="that the losses and accuracies are taken of")
    num_retrieval_images: PositiveInt = Field(description="each with one caption: every caption ranks them all")


class RuntimeSettings(Section):
    """How the work is done. Nothing here changes what is learnt, so nothing here asks for a new run."""

    micro_batch_size: PositiveInt = Field(description="pairs at most that go through a device together")
    dtype: Literal["float32", "bfloat16"] = Field(description="of the matrix products")
    num_workers: Count = Field(description="processes a device that read features")
    gradient_checkpointing: bool
    fsdp: bool = Field(description="spread weights and optimizer over the devices")
    peak_tflops: PositiveFloat | None = Field(description="of a device, for the utilisation in the logs; null: none")
    log_every_steps: PositiveInt
    checkpoint_minutes: PositiveFloat
    num_checkpoints_kept: PositiveInt


class PretrainingSettings(Section):
    """Pretraining."""

    seed: Count
    train_split: str
    validation_split: str
    objective: ObjectiveSettings
    optimizer: OptimizerSettings
    evaluation: EvaluationSettings


class VilbertSettings(Section):
    """Every section from the feature stores on."""

    text: TextSettings
    model: ModelSettings
    pretraining: PretrainingSettings
    runtime: RuntimeSettings
