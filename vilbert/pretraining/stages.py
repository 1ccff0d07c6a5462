"""What an epoch of pretraining asks: which words stand out, how often each is masked, how many captions are wrong.

Whoever has to tell a circle from a square has to find it first, so questions that need two steps come late.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from vilbert.batches.masking import mask_probabilities
from vilbert.pretraining.mismatches import ContrastWords
from vilbert.settings import ObjectiveSettings


@dataclass(frozen=True)
class Stage:
    """What is the same in some epochs."""

    from_epoch: int  # the first of them
    contrasts: ContrastWords
    mask_probabilities: np.ndarray  # [V], of each token of the vocabulary
    mismatch_probability: float
    changed_share: float  # of the mismatched captions, those that are the right one with a contrast word changed


def make_stages(objective: ObjectiveSettings, tokenizer: PreTrainedTokenizerBase) -> list[Stage]:
    """The stages of a training, in their order. Raises: ValueError for a contrast word that stands twice."""

    def make(
        contrast_words: Sequence[Sequence[str]], *, from_epoch: int, mismatch_probability: float, changed_share: float
    ) -> Stage:
        contrasts = ContrastWords(contrast_words, tokenizer)
        probabilities = mask_probabilities(
            len(tokenizer),
            probability=objective.token_mask_probability,
            special_ids=tokenizer.all_special_ids,
            contrast_ids=np.flatnonzero(contrasts.group_of >= 0),
            contrast_probability=objective.contrast_mask_probability,
        )
        return Stage(from_epoch, contrasts, probabilities, mismatch_probability, changed_share)

    early = make(
        objective.contrast_words,
        from_epoch=0,
        mismatch_probability=objective.mismatch_probability,
        changed_share=0,
    )
    return [early] if objective.late is None else [early, make(**dict(objective.late))]
