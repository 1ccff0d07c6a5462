"""What the trainings' commands have in common."""

import os


def is_first_process() -> bool:
    """Whether this process of a training writes what all have in common."""
    return os.environ.get("RANK", "0") == "0"
