"""Co-attention as something to look at: for each word the regions that it looks at.

Dimension key:
    L: co-attention layers   H: heads   T: tokens   R: regions (the first is the whole image)   N: regions without it
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from extract.regions.store import Regions

MARK = "#e6194b"  # the box that is meant
LIGHT = np.array([255, 214, 10], np.float32)  # what is looked at
STRENGTH = 0.75  # of that colour where a word looks most


@dataclass(frozen=True)
class CoAttention:
    """The maps of one text over the regions of one picture."""

    tokens: list[str]  # [T], with the special ones
    weights: np.ndarray  # [L, H, T, R], each token's sum to 1
    regions: Regions
    image: Image.Image | None  # None: there are features alone
    has_whole_image: bool

    @property
    def words(self) -> list[str]:
        """Those of the text as the tokenizer reads it, each once, without what begins and ends it."""
        return list(dict.fromkeys(word for word, _ in self.places))

    @property
    def places(self) -> list[tuple[str, list[int]]]:
        """The words in their order, each with the places of its pieces among the tokens."""
        words: list[tuple[str, list[int]]] = []
        for place, token in enumerate(self.tokens[1:-1], start=1):
            if token.startswith("##") and words:
                word, pieces = words[-1]
                words[-1] = word + token.removeprefix("##"), [*pieces, place]
            else:
                words.append((token, [place]))
        return words

    def of(self, word: str) -> np.ndarray:
        """How much of a word's attention each detected region has: [N], the mean over layers, heads and its pieces.

        What goes to the whole image is left out, so that they sum to less than 1.
        Raises: ValueError for a word that is not in the text.
        """
        return self.at(self.places_of(word))

    def at(self, places: Sequence[int]) -> np.ndarray:
        """The same of some of the tokens: [N]."""
        return self.weights[:, :, places, int(self.has_whole_image) :].mean(axis=(0, 1, 2))

    def places_of(self, word: str) -> list[int]:
        """Where the pieces of a word stand, the first time that it does."""
        for start in range(len(self.tokens)):
            joined = ""
            for end in range(start, len(self.tokens)):
                joined += self.tokens[end].removeprefix("##") if end > start else self.tokens[end]
                if joined.lower() == word.lower():
                    return list(range(start, end + 1))
                if not word.lower().startswith(joined.lower()):
                    break
        raise ValueError(f"'{word}' is not in the text, which is {' '.join(self.tokens)}")

    def draw(self, word: str) -> Image.Image:
        """The picture with light on the regions that a word looks at, the box that it looks at most drawn.

        Raises: ValueError for a word that is not in the text, or where there is no picture.
        """
        if self.image is None:
            raise ValueError("there are features alone, no picture to draw into")
        weights = self.of(word)
        light = np.zeros((self.image.height, self.image.width), np.float32)
        for box, weight in zip(self.regions.boxes, weights, strict=True):
            x1, y1, x2, y2 = (round(float(value)) for value in box)
            light[y1:y2, x1:x2] += weight
        share = STRENGTH * light[..., None] / max(light.max(), np.finfo(np.float32).tiny)
        pixels = np.asarray(self.image, np.float32)
        drawn = Image.fromarray((pixels * (1 - share) + LIGHT * share).astype(np.uint8))
        mark(drawn, self.regions.boxes[int(weights.argmax())])
        return drawn


def mark(image: Image.Image, box: Sequence[float] | np.ndarray) -> None:
    """Draw the box that is meant into a picture.

    Args:
        box: [4] x1 y1 x2 y2, pixels.
    """
    corners = [round(float(value)) for value in box]
    ImageDraw.Draw(image).rectangle(corners, outline=MARK, width=max(2, min(image.size) // 100))
