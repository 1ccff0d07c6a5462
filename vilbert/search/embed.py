"""Images and texts as vectors, each read once: python -m vilbert.search.embed MODEL STORE OUTPUT.

Dimension key:
    E: width of an embedding   N: images or texts
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig

from extract.command import run
from extract.devices import best_device
from extract.regions.store import Regions, RegionStore
from vilbert.batches.padding import Tokens, pad_images, pad_texts
from vilbert.model.device_memory import enough_memory
from vilbert.model.directory import WEIGHTS, demand_model, read_processor, sha256_of
from vilbert.model.modeling_dual_encoder import VilbertDualEncoder
from vilbert.model.origin import demand_same_regions
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.search.arrays import read_arrays, write_arrays

AT_ONCE = 128  # images or texts


def main(model: Path, store: Path, output: Path) -> None:
    """Write the embeddings of all images of a feature store, their keys, and of which model they are."""
    regions = RegionStore([store])
    demand_same_regions(model, regions)
    encoder, processor = load_encoder(model)
    keys = list(regions)
    vectors = embed_images(encoder, (regions[key] for key in keys), processor)
    write_embeddings(output, keys, vectors, model=sha256_of(model / WEIGHTS))


def load_encoder(path: Path, *, device: torch.device | None = None) -> tuple[VilbertDualEncoder, VilbertProcessor]:
    """A dual encoder, ready to be asked.

    Raises: FileNotFoundError for what is no model directory; ValueError for another model.
    """
    demand_model(path)
    (kind,) = AutoConfig.from_pretrained(path).architectures or ["nothing that says what it is"]
    if kind != VilbertDualEncoder.__name__:
        raise ValueError(f"{path} holds a {kind}, expected a VilbertDualEncoder, which the rule distil_retriever makes")
    encoder = VilbertDualEncoder.from_pretrained(path).eval()
    return encoder.to(best_device() if device is None else device), read_processor(path)


@torch.inference_mode()
def embed_images(encoder: VilbertDualEncoder, images: Iterable[Regions], processor: VilbertProcessor) -> np.ndarray:
    """float32 [N, E], in their order, by batches of images that have about as many regions."""
    left, parts = iter(images), [np.empty((0, encoder.config.embedding_size), np.float32)]
    while window := list(islice(left, 8 * AT_ONCE)):
        order = sorted(range(len(window)), key=lambda place: len(window[place]))
        vectors = np.empty((len(window), encoder.config.embedding_size), np.float32)
        for start in range(0, len(order), AT_ONCE):
            places = order[start : start + AT_ONCE]
            batch = pad_images([window[place] for place in places], has_whole_image=processor.has_whole_image)
            vectors[places] = asked(encoder.embed_images, batch, encoder)
        parts.append(vectors)
    return np.concatenate(parts)


@torch.inference_mode()
def embed_texts(encoder: VilbertDualEncoder, texts: Sequence[Tokens], processor: VilbertProcessor) -> np.ndarray:
    """float32 [N, E], in their order, by batches of texts of about the same length."""
    vectors = np.empty((len(texts), encoder.config.embedding_size), np.float32)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place].ids))
    for start in range(0, len(order), AT_ONCE):
        places = order[start : start + AT_ONCE]
        batch = pad_texts([texts[place] for place in places], pad_token_id=processor.tokenizer.pad_token_id)
        vectors[places] = asked(encoder.embed_texts, batch, encoder)
    return vectors


def asked(ask: Any, batch: dict[str, torch.Tensor], encoder: VilbertDualEncoder) -> np.ndarray:
    """What the encoder makes of a batch, on the CPU."""
    with enough_memory("end what else runs on it"):
        return ask(**{name: tensor.to(encoder.device) for name, tensor in batch.items()}).cpu().numpy()


def write_embeddings(path: Path, keys: Sequence[str], vectors: np.ndarray, *, model: str) -> None:
    """Whole or not there.

    Args:
        model: the sha256 of the weights that made them.
    """
    write_arrays(path, {"keys": np.array(keys, dtype=str), "vectors": vectors, "model": np.array(model)})


def read_embeddings(path: Path, *, model: str) -> tuple[list[str], np.ndarray]:
    """Keys and vectors of a shard.

    Raises: FileNotFoundError; ValueError for a damaged file, or one of another model.
    """
    kept = read_arrays(path)
    if (made_by := str(kept["model"])) != model:
        raise ValueError(
            f"{path} holds embeddings of the model {made_by[:12]}, expected {model[:12]}; remove it and start again"
        )
    return kept["keys"].tolist(), kept["vectors"]


if __name__ == "__main__":
    run(main)
