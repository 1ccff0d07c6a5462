"""The model that the settings ask for, with new weights."""

from transformers import PreTrainedTokenizerBase

from vilbert.conversion.text_init import text_init
from vilbert.model.configuration_vilbert import TextAndRegionsConfig, VilbertConfig, VilbertSingleStreamConfig
from vilbert.model.modeling_single_stream import VilbertSingleStreamForPreTraining
from vilbert.model.modeling_vilbert import VilbertForPreTraining
from vilbert.settings import ModelSettings

OF_BOTH = (
    "visual_feature_size",
    "visual_target",
    "visual_embedding_norm",
    "text_hidden_size",
    "text_num_layers",
    "text_num_heads",
    "text_intermediate_size",
    "dropout",
    "initializer_range",
)
OF_TWO_STREAMS = (
    "visual_hidden_size",
    "visual_num_layers",
    "visual_num_heads",
    "visual_intermediate_size",
    "co_hidden_size",
    "co_num_heads",
    "text_co_layers",
    "visual_co_layers",
    "fusion",
)


def build_pretraining_model(
    settings: ModelSettings, tokenizer: PreTrainedTokenizerBase, *, num_classes: int
) -> VilbertForPreTraining:
    """Weights are drawn from torch's generator; the text stream is BERT's where `text_init` names one.

    Args:
        num_classes: of the detector, with the background.
    Raises: ValueError for sizes that do not fit together, or not the BERT that is named.
    """
    config = build_config(settings, tokenizer, num_classes=num_classes)
    is_two_stream = isinstance(config, VilbertConfig)
    model = (VilbertForPreTraining if is_two_stream else VilbertSingleStreamForPreTraining)(config)
    if settings.text_init is not None:
        text_init(model, settings.text_init)
    return model


def build_config(
    settings: ModelSettings, tokenizer: PreTrainedTokenizerBase, *, num_classes: int
) -> TextAndRegionsConfig:
    """The sizes, with the vocabulary of the tokenizer and the classes of the detector."""
    is_two_stream = settings.architecture == "two_stream"
    names = OF_BOTH + OF_TWO_STREAMS if is_two_stream else OF_BOTH
    config: TextAndRegionsConfig = (VilbertConfig if is_two_stream else VilbertSingleStreamConfig)(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        visual_num_classes=num_classes,
        **{name: getattr(settings, name) for name in names},
    )
    return config
