"""What an epoch of pretraining asks: which words stand out, how often each is masked, how many captions are wrong.

Whoever has to tell a circle from a square has to find it first, so questions that need two steps come late.
"""

from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from vilbert.batches.masking import mask_probabilities
from vilbert.pretraining.mismatches import ContrastWords
from vilbert.settings import LateSettings, ObjectiveSettings


@dataclass(frozen=True)
class Stage:
    """What is the same in all of some epochs."""

    contrasts: ContrastWords
    mask_probabilities: np.ndarray  # [V], of each token of the vocabulary
    mismatch_probability: float
    changed_share: float  # of the mismatched captions, those that are the right one with a contrast word changed


def early_stage(objective: ObjectiveSettings, tokenizer: PreTrainedTokenizerBase) -> Stage:
    """The stage of epoch 0. Raises: ValueError for a contrast word that stands twice."""
    contrasts = ContrastWords(objective.contrast_words, tokenizer)
    probabilities = _probabilities(objective, contrasts, tokenizer)
    return Stage(contrasts, probabilities, objective.mismatch_probability, changed_share=0)


def late_stage(objective: ObjectiveSettings, late: LateSettings, tokenizer: PreTrainedTokenizerBase) -> Stage:
    """The stage of the last epochs. Raises: as early_stage."""
    contrasts = ContrastWords(late.contrast_words, tokenizer)
    probabilities = _probabilities(objective, contrasts, tokenizer)
    return Stage(contrasts, probabilities, late.mismatch_probability, late.changed_share)


def _probabilities(
    objective: ObjectiveSettings, contrasts: ContrastWords, tokenizer: PreTrainedTokenizerBase
) -> np.ndarray:
    return mask_probabilities(
        len(tokenizer),
        probability=objective.token_mask_probability,
        special_ids=tokenizer.all_special_ids,
        contrast_ids=np.flatnonzero(contrasts.group_of >= 0),
        contrast_probability=objective.contrast_mask_probability,
    )
