"""What a cross-encoder says of pairs of texts and images: each pair is asked about once, and its score kept on a disk.

Dimension key:
    K: candidates of one query
"""

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import lmdb
import numpy as np
import torch
from torch import Tensor

from extract.regions.store import RegionStore, open_whole_lmdb
from vilbert.batches.padding import Tokens, pad_images, pad_texts
from vilbert.model.device_memory import enough_memory
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.retrieval.scoring import head_scores

MAP_SIZE = 1 << 36  # bytes that the file may grow to


class Teacher:
    """A cross-encoder and the scores that it has given so far.

    They are kept by the tokens of the text and the key of the image, so that every training with this teacher finds
    them; several processes may write. A killed one loses those of its last query.
    """

    def __init__(self, model: Any, processor: VilbertProcessor, store: RegionStore, *, kept_in: Path):
        """Args:
        model: VilbertForPreTraining or VilbertForImageTextRetrieval.
        kept_in: file of the scores, of this model and these features alone.
        Raises: ValueError for such a file that is damaged.
        """
        self.model, self.processor, self.store = model.eval(), processor, store
        kept_in.parent.mkdir(parents=True, exist_ok=True)
        if kept_in.exists():
            remedy = f"remove it (`rm {quote(str(kept_in))}`), and the teacher is asked anew"
            open_whole_lmdb(kept_in, remedy=remedy).close()  # a file that is cut off would end the process
        self._path, self._kept = kept_in, lmdb.open(str(kept_in), subdir=False, map_size=MAP_SIZE)
        self.num_asked = 0

    def scores(self, texts: Sequence[Tokens], images: Sequence[str]) -> np.ndarray:
        """float32 [K]: of one text with K images, or of K texts with one image."""
        num = max(len(texts), len(images))
        names = [name_of(texts[place % len(texts)], images[place % len(images)]) for place in range(num)]
        with self._kept.begin() as transaction:
            found = [transaction.get(name) for name in names]
        missing = [place for place, value in enumerate(found) if value is None]
        if missing:
            asked = self._ask(
                texts if len(texts) == 1 else [texts[place] for place in missing],
                images if len(images) == 1 else [images[place] for place in missing],
            )
            said = {place: struct.pack("<f", score) for place, score in zip(missing, asked, strict=True)}
            self._keep({names[place]: value for place, value in said.items()})
            found = [said.get(place, value) for place, value in enumerate(found)]
            self.num_asked += len(missing)
        return np.array([struct.unpack("<f", value)[0] for value in found if value is not None], np.float32)

    def _keep(self, values: dict[bytes, bytes]) -> None:
        """Raises: OSError where the disk is full."""
        try:
            with self._kept.begin(write=True) as transaction:
                for name, value in values.items():
                    transaction.put(name, value)
        except lmdb.Error as error:
            raise OSError(f"{self._path} could not be written: {error}; make room on its disk") from error

    @torch.inference_mode()
    def _ask(self, texts: Sequence[Tokens], images: Sequence[str]) -> list[float]:
        batch = pad_texts(texts, pad_token_id=self.processor.tokenizer.pad_token_id)
        batch |= pad_images([self.store[key] for key in images], has_whole_image=self.processor.has_whole_image)
        trunk, device = self.model.base_model, self.model.device
        with enough_memory("the teacher does not fit beside what learns from it; take a smaller one"):
            output = trunk(**{name: tensor.to(device) for name, tensor in batch.items()})
            scores: Tensor = head_scores(self.model, trunk.fuse(output))
        return scores.cpu().tolist()


def name_of(text: Tokens, image: str) -> bytes:
    """Of a pair, 16 bytes that no other pair has."""
    return hashlib.blake2b(text.ids.astype("<i8").tobytes() + image.encode(), digest_size=16).digest()


def kept_path(folder: Path, made_of: Sequence[str]) -> Path:
    """Where the scores of a teacher lie, by the digests of what they depend on."""
    return folder / f"{hashlib.sha256(' '.join(made_of).encode()).hexdigest()[:16]}.lmdb"
