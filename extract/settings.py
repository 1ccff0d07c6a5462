"""The settings of every stage up to the feature stores: config.yaml, checked before the first job.

Imported while Snakemake parses, so nothing heavy is imported here. No field has a default: config.yaml holds
every value, and a stage's command gets its own section only, as JSON.
"""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from extract.section import MANNER, Address, Count, Digest, FilePath, Fraction, Section


class SplitSettings(Section):
    """Where the captions of one split come from."""

    url: str | None = Field(
        description="https: or file: address of the caption list, or of the tars with {shard} or {shard:04d} in it, "
        "which are not compressed; for kind folder: path of a csv with the columns file and caption; null where the "
        "workflow makes it"
    )
    sha256: Annotated[Digest | None, MANNER] = Field(
        description="of the caption list, which is refused if it has another when it is fetched; null: not checked"
    )
    num_rows: PositiveInt = Field(description="rows of the caption list; for kind webdataset: tars x rows_per_shard")


class SourceSettings(Section):
    """What the run starts from."""

    kind: Literal["drawn", "urls", "webdataset", "folder"] = Field(
        description="the drawn world, a caption TAB url list, webdataset tars that hold the images already, or a "
        "folder of pictures with a csv of captions"
    )
    pictures: Annotated[FilePath | None, MANNER] = Field(
        description="folder below which the csv's files lie; null for every kind but folder"
    )
    rows_per_shard: PositiveInt = Field(
        description="rows of the caption list a shard, the unit of a job; for webdataset: at least what one tar holds"
    )
    splits: dict[str, SplitSettings] = Field(description="by name, such as train and val")

    @field_validator("splits")
    @classmethod
    def _names_are_file_names(cls, splits: dict[str, SplitSettings]) -> dict[str, SplitSettings]:
        for name in splits:
            if not (name.isascii() and name.isalnum()):
                raise ValueError(f"a split is named in ASCII letters and digits, got '{name}'")
        return dict(sorted(splits.items()))


class NoiseSettings(Section):
    """Share of the rows of a split of the drawn world that are bad on purpose, by kind."""

    dead_url: Fraction
    html_as_image: Fraction
    truncated_image: Fraction
    tiny_image: Fraction
    wide_image: Fraction
    flat_placeholder: Fraction
    exact_duplicate: Fraction
    near_duplicate: Fraction
    boilerplate_caption: Fraction
    markup_caption: Fraction
    wrong_caption: Fraction


class WorldSettings(Section):
    """The drawn world: scenes of coloured shapes with captions, questions and expressions that are true."""

    seed: Count
    image_size: Annotated[int, Field(ge=64)] = Field(description="pixels, both sides")
    min_objects: PositiveInt
    max_objects: PositiveInt
    captions_per_image: PositiveInt
    noise: NoiseSettings
    num_task_images: dict[Literal["train", "val", "test"], PositiveInt] = Field(
        description="images that the tasks' annotations speak of"
    )


class CaptionSettings(Section):
    """The caption rules, in the order in which they are applied."""

    min_words: PositiveInt
    max_words: PositiveInt
    min_latin_share: Fraction = Field(description="of the letters of a caption that are of the Latin script")
    boilerplate: tuple[str, ...] = Field(description="regular expressions, case ignored, that no caption may match")
    max_repeats: PositiveInt = Field(description="times that one normalised caption may stand in a split")


class DownloadSettings(Section):
    """How one shard's images are fetched.

    No answer depends on who asks, how often and how patiently: what failed in passing is asked again by `-R download`.
    """

    contact: Annotated[str | None, MANNER] = Field(
        description="url or e-mail in the user agent; required for every host but the mirror"
    )
    mirror: str | None = Field(
        description="address of a server that is asked for everything, with the real host as the first path segment; "
        "'site' for the drawn world's own, started by the job on 127.0.0.1"
    )
    connections: Annotated[PositiveInt, MANNER] = Field(description="requests under way at once, all hosts")
    connections_per_host: Annotated[PositiveInt, MANNER]
    gap_per_host: Annotated[float, Field(ge=0), MANNER] = Field(description="seconds between two requests to one host")
    timeout: Annotated[PositiveFloat, MANNER] = Field(
        description="seconds for one try, from connecting to the last byte"
    )
    tries: Annotated[PositiveInt, MANNER] = Field(
        description="at most, for time-outs, resets, 429, 5xx and name servers that do not answer"
    )
    backoff: Annotated[PositiveFloat, MANNER] = Field(
        description="seconds before the second try; doubled and jittered after that"
    )
    max_retry_after: Annotated[PositiveFloat, MANNER] = Field(
        description="seconds; a server that asks for more is not asked again"
    )
    max_bytes: PositiveInt
    max_pixels: PositiveInt = Field(description="width x height, known from the header, before decoding")
    max_side: PositiveInt | None = Field(description="pixels; larger images are stored smaller; null: as they came")
    honour_opt_out: bool = Field(
        description="leave out images with X-Robots-Tag noai, noimageai, noindex, noimageindex"
    )
    honour_robots_txt: bool = Field(
        description="leave out images that the host's robots.txt forbids to the robot vilbert, or to all"
    )
    allow_private_addresses: bool
    min_success: Annotated[Fraction, MANNER] = Field(description="share of a shard's urls below which the job fails")


class ImageSettings(Section):
    """The image rules, in the order in which they are applied."""

    min_side: PositiveInt = Field(description="pixels, the shorter side")
    max_aspect_ratio: Annotated[float, Field(ge=1)] = Field(description="longer side by shorter side")
    min_contrast: Annotated[float, Field(ge=0)] = Field(
        description="standard deviation of the grey values, 0 to 255, below which an image is a flat placeholder"
    )


class DuplicateSettings(Section):
    """Which images are the same picture."""

    max_distance: Annotated[int, Field(ge=0, le=16)] = Field(
        description="bits of the 64-bit perceptual hash in which near duplicates may differ; 0: equal hashes"
    )


class RelatednessSettings(Section):
    """Which captions have nothing to do with their image, judged by the detected classes."""

    threshold: Fraction = Field(
        description="scores below are dropped; the score stays as a column. Above 0 true pairs go as well: those that "
        "name what the detector missed, or whose words mean something else than its classes ('at home', 'football fan')"
    )
    min_regions: Count = Field(description="confident regions that an image needs before its captions are judged")


class DetectorTrainingSettings(Section):
    """Training of a small detector from scratch."""

    seed: Count
    steps: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    weight_decay: Annotated[float, Field(ge=0)]
    warmup_steps: Count
    max_gradient_norm: PositiveFloat


class BottomUpSettings(Section):
    """How a detector of bottom-up attention's family runs."""

    url: Annotated[Address | None, MANNER] = Field(
        description="https: or file: address of the weights; null: they are there already"
    )
    sha256: Annotated[Digest | None, MANNER] = Field(
        description="of the weights; a file with another is refused; null: printed in the log, not checked"
    )
    class_names: Annotated[FilePath | None, MANNER] = Field(
        description="path of a text file, one name a line without the background, 'stop sign,stopsign' being one class "
        "of two names; null: classes are unnamed, and no caption is judged"
    )
    attribute_names: Annotated[FilePath | None, MANNER] = Field(
        description="the same for attributes; null: they are unnamed"
    )
    shorter_side: PositiveInt = Field(description="pixels to which images are resized")
    longer_side: PositiveInt = Field(description="pixels, at most, after that")
    num_proposals: PositiveInt = Field(description="boxes of an image, at most, of which regions are selected")
    box_source: Literal["proposal", "regressed", "repooled"] = Field(
        description="the box of a region: as proposed, as its likeliest class shifts it, or that with features of it"
    )


class DetectorSettings(Section):
    """The detector that finds the regions."""

    backend: Literal["torchvision", "detectron2"] = Field(description="both give the same numbers")
    weights: Annotated[FilePath | None, MANNER] = Field(
        description="path of trained weights; null: train on the boxes of the drawn world"
    )
    batch_size: Annotated[PositiveInt, MANNER] = Field(
        description="images that go through the model together: on a CPU of one size, on a GPU of like size"
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        description="of the convolutions; the halves pay on GPUs, where float16 is as fast as bfloat16 and eight times "
        "finer. What stays float32 beside them is TF32 there; with float32 nothing is"
    )
    bottom_up: BottomUpSettings | None = Field(
        description="for weights with detectron2's names (.pkl, .pth); null: weights that this workflow trained"
    )


class SelectionSettings(Section):
    """Which of the proposed boxes become regions."""

    threshold: Fraction = Field(description="class score at or above which a box is confident")
    min_regions: PositiveInt
    max_regions: PositiveInt
    nms_iou: Fraction = Field(description="overlap above which the weaker of two boxes of one class goes")


class StoreSettings(Section):
    """What a record holds."""

    num_classes_kept: PositiveInt | None = Field(
        description="most probable classes a region, the rest of the mass spread evenly; null: the whole distribution"
    )


class ExtractSettings(Section):
    """Every section up to the feature stores."""

    source: SourceSettings
    world: WorldSettings | None
    captions: CaptionSettings
    download: DownloadSettings
    images: ImageSettings
    duplicates: DuplicateSettings
    relatedness: RelatednessSettings
    detector: DetectorSettings
    detector_training: DetectorTrainingSettings | None
    selection: SelectionSettings
    store: StoreSettings
