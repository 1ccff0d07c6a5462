"""Why a rule drops a row."""

from typing import NamedTuple


class Objection(NamedTuple):
    """The rule's name, and the value that it objected to."""

    reason: str
    detail: str
