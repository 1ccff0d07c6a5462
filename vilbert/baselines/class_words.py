"""A rule that learns nothing: how likely the detector's regions are of the classes that a text names.

Dimension key:
    T: texts   I: images, or regions that stand for one each   N: regions   C: classes, background first
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from extract.captions.text import caption_words
from extract.cleaning.relatedness import ClassNames, Mention, seen_probability


def class_names(classes: Sequence[str], texts: Iterable[str]) -> ClassNames:
    """The detector's classes as texts name them; the rarer a word among these texts, the more it tells.

    Args:
        classes: [C].
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update({"", *caption_words(text)})
    return ClassNames(classes, word_counts=counts)


def fits(mentions: Sequence[Sequence[Mention]], images: Iterable[np.ndarray]) -> np.ndarray:
    """How well what each text names is seen in each image: the log of `relatedness`, float32 [T, I].

    A text that names no class fits nothing, -inf.

    Args:
        mentions: [T], by `ClassNames.mentions`.
        images: [I], class probabilities [N, C] each.
    """
    named = {mention.phrase: mention for of_text in mentions for mention in of_text}
    places = {phrase: place for place, phrase in enumerate(named)}
    seen = np.log(np.array([[seen_probability(one, image) for one in named.values()] for image in images], np.float32))
    scores = np.full((len(mentions), len(seen)), -np.inf, np.float32)
    for row, of_text in enumerate(mentions):
        if of_text:
            columns, weights = [places[one.phrase] for one in of_text], [one.weight for one in of_text]
            scores[row] = np.average(seen[:, columns], axis=1, weights=weights)
    return scores
