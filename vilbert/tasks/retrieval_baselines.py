"""What the ranks of images and captions are read against."""

import numpy as np
import torch

from vilbert.baselines.class_words import class_names, fits
from vilbert.baselines.rows import Baselines
from vilbert.tasks.metrics import retrieval_chance, right_pairs
from vilbert.tasks.retrieval import RetrievalDataset


class RetrievalBaselines:
    """Nothing is counted: neither a caption alone nor an image alone ranks anything, so both are chance."""

    def of(self, held_out: RetrievalDataset) -> Baselines:
        """Of the ranks among all images, and all captions, of a data set."""
        texts, columns = [caption.text for caption in held_out.captions], held_out.columns_seen
        is_right = right_pairs(held_out.image_of, texts, num_images=len(held_out.keys))
        chance = retrieval_chance(is_right, columns)
        return Baselines(
            chance=chance,
            blind=chance,
            no_text=chance,
            rule=held_out.measure(class_scores(held_out)) if held_out.store.classes else {},
            ceiling=held_out.measure(held_out.of_all_images(torch.from_numpy(is_right[:, columns]).float())),
            num_examples=len(texts),
            num_dropped=int(np.isin(held_out.image_of, columns, invert=True).sum()),
            counts={name: len(held_out.keys) for name in chance if name.startswith("text_")},
        )


def class_scores(data: RetrievalDataset) -> torch.Tensor:
    """How far what each caption names is seen in each image, [captions, images]."""
    texts = [caption.text for caption in data.captions]
    names = class_names(data.store.classes, texts)
    probs = (data.store[data.keys[column]].class_probs for column in data.columns_seen)
    return data.of_all_images(torch.from_numpy(fits([names.mentions(text) for text in texts], probs)))
