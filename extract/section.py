"""What every part of config.yaml is made of, for `extract.settings` and `vilbert.settings`."""

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
# Marks a field that says how a job goes about it, or where something lies, and not what comes out.
MANNER: Final = "manner"


def demand_path(path: str) -> str:
    """Raises: ValueError for a path that Snakemake or a command would take for something else."""
    if not path:
        raise ValueError("is empty, expected a path, or null where none is meant")
    if path.startswith("-"):
        raise ValueError(f"{path!r} begins like an option, write {'./' + path!r}")
    if character := re.search(r"[{}<>\x00-\x1f\x7f]", path):
        raise ValueError(f"{path!r} has {character[0]!r} in it, which Snakemake cannot have in a path; rename it")
    return path


def demand_address(url: str) -> str:
    """Raises: ValueError for what is no address of a file."""
    if not url.startswith(("https:", "http:", "file:")):
        raise ValueError(f"{url!r} has no scheme; write https://... or file:///absolute/path")
    if character := re.search(r"[\x00-\x1f\x7f]", url):
        raise ValueError(f"{url!r} has {character[0]!r} in it, which no address has")
    return url


def demand_pattern(pattern: str, field: str) -> str:
    """Raises: ValueError for a pattern that gives one name for all values of a field, or asks for more than it."""
    try:
        is_pattern = pattern.format(**{field: 1}) != pattern.format(**{field: 2})
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        raise ValueError(f"asks for {error}, expected {{{field}}} alone") from error
    if not is_pattern:
        raise ValueError(f"has no {{{field}}} in it, expected a pattern such as name_{{{field}:06d}}")
    return pattern


FilePath = Annotated[str, AfterValidator(demand_path)]
Address = Annotated[str, AfterValidator(demand_address)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$"), AfterValidator(str.lower)]


class Section(BaseModel):
    """A part of config.yaml: keys that it does not know are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def made_of(self) -> dict[str, Any]:
        """What of it decides on the results, in one order: every field but those that are marked `MANNER`."""
        fields = type(self).model_fields
        return {name: _plain(getattr(self, name)) for name in sorted(fields) if MANNER not in fields[name].metadata}


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.made_of()
    if isinstance(value, dict):
        return {name: _plain(value[name]) for name in sorted(value)}
    return [_plain(part) for part in value] if isinstance(value, tuple) else value
