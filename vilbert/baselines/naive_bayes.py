"""Which class a text is of, by how often each word stood in the texts of each class.

Dimension key:
    K: classes
"""

from collections.abc import Iterable, Mapping

import numpy as np

SMOOTHING = 0.1  # added to every count; with 1, as is usual, answers that few gave drown in it


class NaiveBayes:
    """Counts, no gradients: a text is drawn word by word from the words of its class.

    Source: Manning et al. 2008, section 13.2.
    """

    def __init__(self, num_classes: int):
        self._texts = np.zeros(num_classes, np.float32)
        self._words = np.zeros(num_classes, np.float32)
        self._by_word: dict[str, np.ndarray] = {}  # [K] each

    def add(self, words: Iterable[str], weights: Mapping[int, float]) -> None:
        """Count a text for some classes, for each by its weight."""
        classes, counts = list(weights), np.array(list(weights.values()), np.float32)
        self._texts[classes] += counts
        for word in words:
            self._words[classes] += counts
            self._by_word.setdefault(word, np.zeros_like(self._words))[classes] += counts

    def scores(self, words: Iterable[str]) -> np.ndarray:
        """The log probability of each class with a text, up to a constant, [K]; a word never seen says nothing."""
        scores, totals = np.log(self._texts + SMOOTHING), self._words + SMOOTHING * len(self._by_word)
        for word in words:
            if word in self._by_word:
                scores += np.log((self._by_word[word] + SMOOTHING) / totals)
        return scores
