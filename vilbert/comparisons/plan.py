"""What is compared: the cells of each table, and where their trainings lie; the workflow writes it."""

from pydantic import BaseModel


class Cell(BaseModel):
    """A row of a table; the same trainings may be rows of several."""

    table: str  # architecture, depth, data or text_init
    label: str
    name: str  # the same for the same trainings
    architecture: str
    depth: int
    share: float  # of the training images; 0: not pretrained
    folders: dict[str, dict[str, str]]  # by what is measured, then by seed


class Plan(BaseModel):
    """All that one command compares."""

    own_depth: int  # of the run's own model, as the paper's is 6
    cells: list[Cell]
