"""What zero-shot retrieval finds, as pictures.

python -m vilbert.report.retrieved MODEL TOKENS STORE... OUT_FOLDER --tar TAR...

Dimension key:
    N: images, each with one caption
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from transformers import AutoModelForPreTraining

from extract.command import run
from extract.regions.store import RegionStore
from vilbert.batches.tokens import TokenTable
from vilbert.model.directory import demand_model, read_processor
from vilbert.model.origin import demand_same_regions
from vilbert.pretraining.data import PretrainingDataset
from vilbert.pretraining.evaluation import alignment_scores, one_pair_an_image
from vilbert.report.answers import NUM_RETRIEVED, Answer
from vilbert.report.examples import choose, write_examples
from vilbert.report.pictures import read_images
from vilbert.retrieval.ranks import ALIKE, best_first, commonest_first
from vilbert.settings import PretrainingSettings


def main(
    model: Path,
    tokens: Path,
    stores: list[Path],
    output: Path,
    tars: Annotated[list[Path], typer.Option("--tar", help="of the validation split's images; repeat it")],
    settings: Annotated[PretrainingSettings, typer.Option(parser=PretrainingSettings.model_validate_json)],
) -> None:
    """Show captions of the validation split, each with the images that fit it best.

    Which ones, the seed of pretraining decides and not their looks. OUT_FOLDER gets pictures, examples.json and
    measures.json.
    """
    demand_model(model)
    trained = AutoModelForPreTraining.from_pretrained(model).eval()
    tokenizer, store = read_processor(model).tokenizer, RegionStore(stores)
    demand_same_regions(model, store)
    dataset = PretrainingDataset(
        TokenTable(tokens, split=settings.validation_split),
        store,
        tokenizer,
        objective=settings.objective,
        visual_target=trained.config.visual_target,
        seed=settings.seed,
    )
    indices = one_pair_an_image(dataset, settings.evaluation.num_retrieval_images)
    with torch.inference_mode():
        scores = alignment_scores(trained, dataset, [dataset.whole_pair(index) for index in indices])
    captions = [tokenizer.decode(dataset.tokens[index], skip_special_tokens=True) for index in indices]
    found = answers_of(scores, captions, [dataset.tokens.image_keys[index].as_py() for index in indices])
    shown = choose(found, seed=settings.seed)
    write_examples(shown, read_images(tars, {key for one in shown for key in one.image_keys}), output)
    alike = {"measure": ALIKE, "value": commonest_first(scores), "chance": None, "num_examples": len(scores)}
    (output / "measures.json").write_text(json.dumps([alike], indent=1))


def answers_of(scores: np.ndarray, captions: Sequence[str], image_keys: Sequence[str]) -> list[Answer]:
    """What each caption finds: right where its own image comes first.

    Args:
        scores: [N captions, N images], the pairs on the diagonal.
    """
    order = best_first(scores, np.eye(len(scores), dtype=bool))
    return [
        Answer(
            kind="retrieval",
            example=place,
            image_keys=tuple(image_keys[column] for column in order[place, :NUM_RETRIEVED]),
            text=caption,
            answer=f"its own image is number {(rank := int(np.flatnonzero(order[place] == place)[0]) + 1)}"
            f" of {len(captions)}",
            expected="its own image, in a blue frame, as number 1",
            is_right=rank == 1,
            own=frozenset({image_keys[place]}),
        )
        for place, caption in enumerate(captions)
    ]


if __name__ == "__main__":
    run(main)
