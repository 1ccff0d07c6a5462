"""From region features and text to models. What a user calls is here, and is imported when it is first asked for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vilbert.model.auto_classes import register_when_imported

if TYPE_CHECKING:
    from extract.regions.store import Regions, RegionStore, RegionStoreWriter
    from vilbert.conversion.convert import convert
    from vilbert.conversion.text_init import text_init
    from vilbert.looking import CoAttention
    from vilbert.model.configuration_vilbert import VilbertConfig, VilbertSingleStreamConfig
    from vilbert.model.modeling_dual_encoder import VilbertDualEncoder, dual_encoder_of
    from vilbert.model.modeling_single_stream import (
        VilbertSingleStreamForClassification,
        VilbertSingleStreamForImageTextRetrieval,
        VilbertSingleStreamForMultipleChoice,
        VilbertSingleStreamForPreTraining,
        VilbertSingleStreamForQuestionAnswering,
        VilbertSingleStreamForRegionGrounding,
        VilbertSingleStreamModel,
    )
    from vilbert.model.modeling_tasks import (
        VilbertForClassification,
        VilbertForImageTextRetrieval,
        VilbertForMultipleChoice,
        VilbertForQuestionAnswering,
        VilbertForRegionGrounding,
        VilbertTaskOutput,
    )
    from vilbert.model.modeling_vilbert import (
        VilbertForPreTraining,
        VilbertModel,
        VilbertOutput,
        VilbertPreTrainingOutput,
    )
    from vilbert.model.processing_vilbert import VilbertProcessor
    from vilbert.pipelines import Pipeline, own_regions, pipeline
    from vilbert.retrieval.scoring import EncodedImage, score_pairs
    from vilbert.search.searcher import Searcher

_NAMES = {  # the imports above, for those who run this
    "extract.regions.store": ("RegionStore", "RegionStoreWriter", "Regions"),
    "vilbert.conversion.convert": ("convert",),
    "vilbert.conversion.text_init": ("text_init",),
    "vilbert.looking": ("CoAttention",),
    "vilbert.model.configuration_vilbert": ("VilbertConfig", "VilbertSingleStreamConfig"),
    "vilbert.model.modeling_dual_encoder": ("VilbertDualEncoder", "dual_encoder_of"),
    "vilbert.model.modeling_single_stream": (
        "VilbertSingleStreamForClassification",
        "VilbertSingleStreamForImageTextRetrieval",
        "VilbertSingleStreamForMultipleChoice",
        "VilbertSingleStreamForPreTraining",
        "VilbertSingleStreamForQuestionAnswering",
        "VilbertSingleStreamForRegionGrounding",
        "VilbertSingleStreamModel",
    ),
    "vilbert.model.modeling_tasks": (
        "VilbertForClassification",
        "VilbertForImageTextRetrieval",
        "VilbertForMultipleChoice",
        "VilbertForQuestionAnswering",
        "VilbertForRegionGrounding",
        "VilbertTaskOutput",
    ),
    "vilbert.model.modeling_vilbert": (
        "VilbertForPreTraining",
        "VilbertModel",
        "VilbertOutput",
        "VilbertPreTrainingOutput",
    ),
    "vilbert.model.processing_vilbert": ("VilbertProcessor",),
    "vilbert.pipelines": ("Pipeline", "own_regions", "pipeline"),
    "vilbert.retrieval.scoring": ("EncodedImage", "score_pairs"),
    "vilbert.search.searcher": ("Searcher",),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'vilbert' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register_when_imported()
