"""Pretraining on a share of the images, in as many steps as on all of them."""

from vilbert.settings import PretrainingSettings
from vilbert.training.feed import count_steps


def in_as_many_steps(settings: PretrainingSettings, *, num_pairs: int, num_kept: int) -> PretrainingSettings:
    """More passes over fewer pairs: the same number of steps, and the late stage as far along among them.

    Args:
        num_pairs: of the whole split, by which the settings count.
        num_kept: of the share.
    Raises: ValueError if the share fills no batch.
    """
    optimizer, late = settings.optimizer, settings.objective.late
    if num_kept < optimizer.batch_size:
        raise ValueError(
            f"the share of {num_kept} of {num_pairs} pairs fills no batch of {optimizer.batch_size}; "
            "take a larger one in comparison.data_shares, or a smaller pretraining.optimizer.batch_size"
        )
    num_epochs = count_steps(optimizer, num_pairs) / (num_kept // optimizer.batch_size)
    if late is not None:
        late = late.model_copy(update={"from_epoch": round(late.from_epoch * num_epochs / optimizer.num_epochs)})
    return settings.model_copy(
        update={
            "optimizer": optimizer.model_copy(update={"num_epochs": num_epochs}),
            "objective": settings.objective.model_copy(update={"late": late}),
        }
    )
