"""What pretraining starts from, as a model directory: python -m vilbert.pretraining.untrained TOKENIZER STORE... MODEL.

Fine-tunes of it are those that Lu et al. 2019 mark with a dagger: of a text stream from BERT, not pretrained on pairs.
"""

from pathlib import Path
from typing import Annotated

import typer
from transformers import AutoTokenizer, set_seed

from extract.command import run
from extract.regions.store import RegionStore
from extract.tables import naming, reading
from vilbert.model.directory import write_model
from vilbert.model.origin import origin_of
from vilbert.model.processing_vilbert import VilbertProcessor
from vilbert.pretraining.building import build_pretraining_model
from vilbert.pretraining.pretrain import demand_features
from vilbert.settings import TRAINING_VERSION, ModelSettings

CARD = """# ViLBERT, not pretrained

What a pretraining starts from: new weights, and the text stream of a BERT where `provenance.json` names one. It has
learnt of no pair, and ranks by chance.
"""


def main(
    tokenizer: Path,
    stores: list[Path],
    model_output: Path,
    model: Annotated[ModelSettings, typer.Option(parser=ModelSettings.model_validate_json)],
    seed: Annotated[int, typer.Option(help="of pretraining: the weights are those that it would start from")],
) -> None:
    """Write a model that has learnt nothing: new weights, and the text stream of `model.text_init` if that is set."""
    set_seed(seed)
    with reading(tokenizer):
        words = AutoTokenizer.from_pretrained(tokenizer)
    store = RegionStore(stores)
    demand_features(store, width=model.visual_feature_size, needs_classes=model.visual_target == "classes")
    network = build_pretraining_model(model, words, num_classes=len(store.classes))
    provenance = {"version": TRAINING_VERSION, "model": model.made_of(), "seed": seed, "regions": origin_of(store)}
    with naming(model_output.parent):
        write_model(
            network,
            VilbertProcessor(words),
            model_output,
            classes=store.classes,
            provenance=provenance | {"detector": store.manifest.detector},
            card=CARD,
        )


if __name__ == "__main__":
    run(main)
