"""The settings of comparisons: which trainings stand side by side."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PositiveInt

from extract.section import Count, FilePath, Section


def demand_once(values: tuple) -> tuple:
    """Raises: ValueError for a value that stands twice."""
    if twice := [value for number, value in enumerate(values) if value in values[:number]]:
        raise ValueError(f"has {twice[0]!r} twice, expected each once")
    return values


def demand_share(share: float) -> float:
    """Raises: ValueError for what is no share."""
    if not 0 <= share <= 1:
        raise ValueError(f"is {share:g}, expected a share from 0, which is no pretraining, to 1")
    return share


def demand_folders_once(folders: dict[str, Any]) -> dict[str, Any]:
    """Raises: ValueError for a folder that two names have."""
    named: dict[Any, str] = {}
    for name, folder in folders.items():
        if folder in named:
            raise ValueError(f"has {folder!r} as '{named[folder]}' and as '{name}', expected each once")
        named[folder] = name
    return folders


Once = AfterValidator(demand_once)
Share = Annotated[float, AfterValidator(demand_share)]
TextInitName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_]*$", max_length=64)]


class ComparisonSettings(Section):
    """The comparisons of Lu et al. 2019, tables 1 to 3: each of what they compare is trained once with each seed."""

    seeds: Annotated[tuple[Count, ...], Once] = Field(
        min_length=1, description="of pretraining and fine-tune alike; what is compared is paired by them"
    )
    finetunes: Annotated[tuple[str, ...], Once] | None = Field(
        description="tasks by which all is measured, beside retrieval without training; null: all that have files"
    )
    architectures: Annotated[tuple[Literal["two_stream", "single_stream"], ...], Once] = Field(
        description="of table 1, each pretrained and, where data_shares has 0, not; []: no such table"
    )
    depths: Annotated[tuple[PositiveInt, ...], Once] = Field(
        description="of table 2: so many visual layers, each behind a co-attention layer that also comes before one of "
        "the last text layers, which stay as many; model's own is visual_num_layers. []: no such table"
    )
    data_shares: Annotated[tuple[Share, ...], Once] = Field(
        description="of table 3: shares of the training split's images, the smaller within the larger, in as many "
        "steps as all; 0: no pretraining, only model.text_init. []: no such table"
    )
    text_inits: Annotated[dict[TextInitName, FilePath | None], AfterValidator(demand_folders_once)] = Field(
        description="what the text stream starts from, by name: a folder with a BERT, whose sizes it takes, or null "
        "for new weights; {}: no such table"
    )
