"""What recall among the images of a search is read against.

Dimension key:
    Q: captions   I: images that they search
"""

from collections.abc import Sequence

import numpy as np

from extract.regions.store import RegionStore
from vilbert.baselines.class_words import class_names, fits
from vilbert.baselines.rows import Baselines
from vilbert.retrieval.ranks import best_ranks, chance_summary, recalls


def search_baselines(
    texts: Sequence[str], image_keys: Sequence[str], is_right: np.ndarray, store: RegionStore
) -> Baselines:
    """Neither a caption alone nor an image alone ranks anything, so both are chance. The rule: the detector's classes
    against the words.

    Args:
        is_right: bool [Q, I].
    """
    chance = chance_summary(is_right.sum(axis=1), len(image_keys))
    chance = {name: value for name, value in chance.items() if name.startswith("recall")}
    rule = {}
    if store.classes:
        names = class_names(store.classes, texts)
        scores = fits([names.mentions(text) for text in texts], (store[key].class_probs for key in image_keys))
        rule = recalls(best_ranks(scores, is_right))
    return Baselines(
        chance=chance,
        blind=chance,
        no_text=chance,
        rule=rule,
        ceiling=recalls(np.ones(len(texts))),
        num_examples=len(texts),
        num_dropped=0,
    )
