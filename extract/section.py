"""What every part of config.yaml is made of, for `extract.settings` and `vilbert.settings`."""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
# Marks a field that says how a job goes about it, or where something lies, and not what comes out.
MANNER: Final = "manner"


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
