"""Model configuration: the sizes of the two streams and where they meet, and of the single stream."""

import math
import os
from pathlib import Path
from typing import Any, Literal

from transformers import PreTrainedConfig

PACKAGE = "vilbert_package"  # the module by which transformers finds ours, in each model directory
FINDS_PACKAGE = '''"""The code of this model is the package vilbert: pip install vilbert."""

from vilbert import VilbertConfig, VilbertProcessor, VilbertSingleStreamConfig  # and transformers knows the models
'''


class TextAndRegionsConfig(PreTrainedConfig):
    """What the two-stream model and the single-stream baseline have in common. `num_labels` counts the answers."""

    vocab_size: int = 30522
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    pad_token_id: int = 0
    text_hidden_size: int = 768
    text_num_layers: int = 12
    text_num_heads: int = 12
    text_intermediate_size: int = 3072
    visual_feature_size: int = 2048
    visual_num_classes: int = 1601  # with the background; not read where the target is no class
    visual_target: Literal["classes", "features", "contrastive"] = "classes"  # what a masked region is to give
    visual_embedding_norm: Literal["joint", "apart"] = "joint"  # of a region's feature and its place
    answer_head: Literal["relu", "gelu_norm"] = "relu"  # vilbert_beta's, or that of vilbert-multi-task and MMF
    answer_hidden_size: int = 2048
    class_weights: list[float] | None = None  # of a classification's labels, in its loss
    dropout: float = 0.1
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> None:
        """With a module for `trust_remote_code`: it imports the package, or transformers says how to install it."""
        self.auto_map = {"AutoConfig": named_for_trust(self, save_directory)}
        super().save_pretrained(save_directory, push_to_hub=push_to_hub, **kwargs)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoConfig") -> None:
        """Nothing: what transformers marks so is saved with a copy of its file, beside which our others would lack."""

    @property
    def visual_target_size(self) -> int:
        """Width of the region logits."""
        return self.visual_num_classes if self.visual_target == "classes" else self.visual_feature_size

    def __post_init__(self, **kwargs):
        if (model_type := kwargs.get("model_type", self.model_type)) != self.model_type:
            raise ValueError(f"the configuration is of a '{model_type}' model, expected '{self.model_type}'")
        super().__post_init__(**kwargs)
        require_one_of("visual_target", self.visual_target, ("classes", "features", "contrastive"))
        require_one_of("visual_embedding_norm", self.visual_embedding_norm, ("joint", "apart"))
        require_one_of("answer_head", self.answer_head, ("relu", "gelu_norm"))
        require_number("dropout", self.dropout, highest=1)
        require_number("initializer_range", self.initializer_range, highest=math.inf)
        require_division("text_num_heads", self.text_num_heads, "text_hidden_size", self.text_hidden_size)


class VilbertConfig(TextAndRegionsConfig):
    """Defaults are the paper's base model with six co-attention layers.

    `text_co_layers` and `visual_co_layers` pair up: co-attention k comes before these layers of the streams. None: the
    streams never meet.
    """

    model_type = "vilbert"

    visual_hidden_size: int = 1024
    visual_num_layers: int = 6
    visual_num_heads: int = 8
    visual_intermediate_size: int = 1024
    co_hidden_size: int = 1024
    co_num_heads: int = 8
    text_co_layers: tuple[int, ...] | list[int] = (6, 7, 8, 9, 10, 11)
    visual_co_layers: tuple[int, ...] | list[int] = (0, 1, 2, 3, 4, 5)
    fusion: Literal["mul", "sum"] = "mul"  # of the pooled streams
    num_task_tokens: int = 0  # 12-in-1 puts one of these behind [CLS]
    embedding_size: int = 256  # of a dual encoder's texts and images
    temperature: float = 0.07  # that a dual encoder begins to learn with

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        require_one_of("fusion", self.fusion, ("mul", "sum"))
        require_division("visual_num_heads", self.visual_num_heads, "visual_hidden_size", self.visual_hidden_size)
        require_division("co_num_heads", self.co_num_heads, "co_hidden_size", self.co_hidden_size)
        self.text_co_layers, self.visual_co_layers = tuple(self.text_co_layers), tuple(self.visual_co_layers)
        if len(self.text_co_layers) != len(self.visual_co_layers):
            raise ValueError(
                f"text_co_layers {self.text_co_layers} and visual_co_layers {self.visual_co_layers} are "
                f"{len(self.text_co_layers)} and {len(self.visual_co_layers)}, expected pairs"
            )
        for stream in ("text", "visual"):
            places, num_layers = getattr(self, f"{stream}_co_layers"), getattr(self, f"{stream}_num_layers")
            are_layers = all(isinstance(place, int) and 0 <= place <= num_layers for place in places)
            if not are_layers or list(places) != sorted(places):
                raise ValueError(
                    f"{stream}_co_layers are {places}, expected whole numbers that ascend within 0 to {num_layers}"
                )


class VilbertSingleStreamConfig(TextAndRegionsConfig):
    """The baseline: the text stream's layers run over tokens and regions together; every width is theirs."""

    model_type = "vilbert_single_stream"

    answer_hidden_size: int = 1536

    @property
    def visual_hidden_size(self) -> int:
        return self.text_hidden_size

    @property
    def co_hidden_size(self) -> int:
        return self.text_hidden_size


def named_for_trust(saved: Any, folder: str | os.PathLike) -> str:
    """The name by which `trust_remote_code` finds the class of what is saved, by a module that is written there."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    Path(folder, f"{PACKAGE}.py").write_text(FINDS_PACKAGE)
    return f"{PACKAGE}.{type(saved).__name__}"


def require_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is '{value}', expected one of {', '.join(allowed)}")


def require_number(name: str, value: float, *, highest: float) -> None:
    if not (isinstance(value, int | float) and 0 <= value <= highest):
        raise ValueError(f"{name} is {value!r}, expected a number from 0 to {highest}")


def require_division(name: str, num_heads: int, width_name: str, width: int) -> None:
    if not isinstance(num_heads, int) or num_heads < 1 or width % num_heads:
        raise ValueError(f"{name} is {num_heads!r}, expected a divisor of {width_name}, {width}")
