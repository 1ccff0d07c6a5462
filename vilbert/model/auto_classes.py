"""What makes `AutoModel` and its like know our classes, whichever of vilbert and transformers is imported first.

Each registry of transformers is filled when its module has run: at once if it has, else by a finder in `sys.meta_path`
that waits for it. What is registered is a class's name, for another module of transformers may be half imported then:
its layers import AutoModel, and our layers import them.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# by registry: the model of two streams, and of the single one
MODELS = {
    "MODEL_MAPPING": ("modeling_vilbert.VilbertModel", "modeling_single_stream.VilbertSingleStreamModel"),
    "MODEL_FOR_PRETRAINING_MAPPING": (
        "modeling_vilbert.VilbertForPreTraining",
        "modeling_single_stream.VilbertSingleStreamForPreTraining",
    ),
    "MODEL_FOR_VISUAL_QUESTION_ANSWERING_MAPPING": (
        "modeling_tasks.VilbertForQuestionAnswering",
        "modeling_single_stream.VilbertSingleStreamForQuestionAnswering",
    ),
    "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING": (
        "modeling_tasks.VilbertForClassification",
        "modeling_single_stream.VilbertSingleStreamForClassification",
    ),
    "MODEL_FOR_MULTIPLE_CHOICE_MAPPING": (
        "modeling_tasks.VilbertForMultipleChoice",
        "modeling_single_stream.VilbertSingleStreamForMultipleChoice",
    ),
}


class NamedClass:
    """A class by its module's name below `vilbert.model` and its own, imported when something is asked of it."""

    name = ""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, attribute: str) -> Any:
        if not self.name:  # not made yet, by pickle
            raise AttributeError(attribute)
        module, _, name = self.name.rpartition(".")
        return getattr(getattr(import_module(f"vilbert.model.{module}"), name), attribute)


def configs() -> tuple[Any, Any]:
    """Of two streams, and of the single one."""
    from vilbert.model.configuration_vilbert import VilbertConfig, VilbertSingleStreamConfig

    return VilbertConfig, VilbertSingleStreamConfig


def register_configs(registry: Any) -> None:
    for config in configs():
        registry.AutoConfig.register(config.model_type, config)


def register_models(registry: Any) -> None:
    """Into the mappings themselves: AutoModel.register would ask the classes for their config, and so import them."""
    for mapping, names in MODELS.items():
        for config, name in zip(configs(), names, strict=True):
            getattr(registry, mapping).register(config, NamedClass(name))


def register_processor(registry: Any) -> None:
    for config in configs():
        registry.AutoProcessor.register(config, NamedClass("processing_vilbert.VilbertProcessor"))


REGISTER: dict[str, Callable[[Any], None]] = {
    "transformers.models.auto.configuration_auto": register_configs,
    "transformers.models.auto.modeling_auto": register_models,
    "transformers.models.auto.processing_auto": register_processor,
}


class AfterImport:
    """Finds the registries as the other finders do, and has them filled when they have run."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in REGISTER:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next((spec for finder in others if (spec := finder.find_spec(name, path, target))), None)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module: ModuleType) -> None:
                execute(module)
                REGISTER[name](module)

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def register_when_imported() -> None:
    """Register now what transformers has imported, and the rest as soon as it does. Once is enough."""
    if any(type(finder).__name__ == AfterImport.__name__ for finder in sys.meta_path):  # of before a reload
        return
    sys.meta_path.insert(0, AfterImport())
    for name, register in REGISTER.items():
        if name in sys.modules:
            register(import_module(name))  # waits for another thread that is importing it
