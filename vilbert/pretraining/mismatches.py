"""Which caption stands in for an image's own: another's of like length, or its own with a word changed.

A caption of another image is told from the right one by a word that names what is not there. One in which two words
have changed places is not: it takes what belongs to what, and what is where.
"""

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from vilbert.batches.tokens import TokenTable

NEIGHBOURS = 2_000  # captions of like length, shorter and longer, that one is drawn from
MAX_DRAWS = 50


class OtherCaptions:
    """The captions of a split, as mismatches of each other."""

    def __init__(self, tokens: TokenTable):
        self.tokens = tokens
        self.by_length = np.argsort(tokens.lengths(), kind="stable")
        self.rank = np.empty_like(self.by_length)
        self.rank[self.by_length] = np.arange(len(tokens))

    def draw(self, example: int, generator: np.random.Generator) -> np.ndarray | None:
        """Ids [T] of another image's caption with another text, about as long, so that its length tells nothing; None
        where all around it are its own text."""
        images, own = self.tokens.image_keys, self.tokens[example]
        for _ in range(MAX_DRAWS):
            neighbour = int(self.rank[example]) + int(generator.integers(-NEIGHBOURS, NEIGHBOURS + 1))
            other = int(self.by_length[neighbour % len(self.by_length)])
            if images[other] != images[example] and not np.array_equal(self.tokens[other], own):
                return self.tokens[other]
        return None


class ContrastWords:
    """Groups of words of which one at most is true where another is: colours, sizes, left and right.

    Source: Yuksekgonul et al. 2023, section 5, who train CLIP on captions of which words are exchanged.
    """

    def __init__(self, groups: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerBase):
        """Words that are no token of their own are left out: they stand in no caption as one.

        Raises: ValueError for a word that stands twice.
        """
        self.groups: list[np.ndarray] = []
        self.group_of = np.full(len(tokenizer), -1)
        for group in groups:
            tokens = np.array([token for word in group if (token := token_of(word, tokenizer)) is not None], np.int64)
            if len(np.unique(tokens)) < len(tokens) or (self.group_of[tokens] >= 0).any():
                raise ValueError(f"pretraining.objective.contrast_words has a word of {', '.join(group)} twice")
            if len(tokens) > 1:
                self.group_of[tokens] = len(self.groups)
                self.groups.append(tokens)

    def change(self, ids: np.ndarray, generator: np.random.Generator) -> np.ndarray | None:
        """The caption [T] with one word in another's place, or two of a group exchanged; None where none can be.

        Each group that is in it is as likely to be changed as any other.
        """
        groups = self.group_of[ids]
        present = np.unique(groups[groups >= 0])
        if not len(present):
            return None
        group = generator.choice(present)
        places = np.flatnonzero(groups == group)
        place = generator.choice(places)
        others = places[ids[places] != ids[place]]
        changed = ids.copy()
        if len(others) and generator.random() < 0.5:
            other = generator.choice(others)
            changed[[place, other]] = ids[[other, place]]
        else:
            words = self.groups[group]
            changed[place] = generator.choice(words[words != ids[place]])
        return changed


def token_of(word: str, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The id of a word that is one token."""
    pieces = tokenizer.tokenize(word)
    is_token = len(pieces) == 1 and pieces[0] != tokenizer.unk_token
    return tokenizer.convert_tokens_to_ids(pieces[0]) if is_token else None
