import math

import pytest
import torch
from pretraining_world import CLASSES, FEATURE_SIZE, make_dataset, model_settings
from transformers import AutoTokenizer, BertConfig, BertForPreTraining

from vilbert.batches.candidates import NUM_CANDIDATES
from vilbert.batches.sampling import Draw
from vilbert.model.modeling_single_stream import VilbertSingleStreamForPreTraining
from vilbert.model.modeling_vilbert import VilbertForPreTraining
from vilbert.pretraining.building import build_pretraining_model


@pytest.fixture
def tokenizer(world):
    return AutoTokenizer.from_pretrained(world.tokenizer)


def test_vocabulary_classes_and_features_are_those_of_the_data(tokenizer):
    model = build_pretraining_model(model_settings(), tokenizer, num_classes=len(CLASSES))
    assert type(model) is VilbertForPreTraining
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.visual_target_size == len(CLASSES)
    assert model.config.visual_feature_size == FEATURE_SIZE
    assert len(model.vilbert.co_layers) == 1


@pytest.mark.parametrize("fusion", ["mul", "sum"])
def test_the_streams_are_fused_as_the_settings_say(tokenizer, fusion):
    model = build_pretraining_model(model_settings(fusion=fusion), tokenizer, num_classes=len(CLASSES))
    assert model.config.fusion == fusion


def test_the_single_stream_takes_the_text_streams_sizes(tokenizer):
    settings = model_settings(architecture="single_stream", visual_target="features")
    model = build_pretraining_model(settings, tokenizer, num_classes=len(CLASSES))
    assert type(model) is VilbertSingleStreamForPreTraining
    assert len(model.vilbert.layers) == 2
    assert model.config.visual_target_size == FEATURE_SIZE


@pytest.mark.parametrize("architecture", ["two_stream", "single_stream"])
@pytest.mark.parametrize("norm", ["joint", "apart"])
def test_the_norm_of_places_and_the_spread_of_new_weights_are_the_settings(tokenizer, architecture, norm):
    settings = model_settings(architecture=architecture, visual_embedding_norm=norm, initializer_range=0.7)
    model = build_pretraining_model(settings, tokenizer, num_classes=len(CLASSES))
    assert (model.vilbert.visual_embeddings.box_norm is not None) == (norm == "apart")
    assert model.vilbert.text_embeddings.word.weight.std().item() == pytest.approx(0.7, rel=0.1)


@pytest.mark.parametrize("architecture", ["two_stream", "single_stream"])
@pytest.mark.parametrize("num_pairs", [4, 32])
def test_a_contrastive_loss_starts_at_the_log_of_the_candidates(world, tokenizer, architecture, num_pairs):
    settings = model_settings(architecture=architecture, visual_target="contrastive")
    model = build_pretraining_model(settings, tokenizer, num_classes=len(CLASSES))
    dataset = make_dataset(world, visual_target="contrastive")
    batch = dataset.__getitems__([Draw(epoch=0, example=example) for example in range(num_pairs)])
    loss = model(**batch).losses["masked_region"]
    assert loss.item() == pytest.approx(math.log(NUM_CANDIDATES))
    loss.backward()
    assert model.region_head.decoder.weight.grad.any()


def test_the_text_stream_starts_from_the_bert_that_is_named(tokenizer, tmp_path):
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 19}
    bert = BertForPreTraining(BertConfig(vocab_size=len(tokenizer), **sizes))
    bert.save_pretrained(tmp_path)
    model = build_pretraining_model(model_settings(text_init=str(tmp_path)), tokenizer, num_classes=7)
    ours = model.vilbert.text_layers[1].attention.query.weight
    torch.testing.assert_close(ours, bert.bert.encoder.layer[1].attention.self.query.weight)


def test_sizes_that_do_not_fit_are_named(tokenizer):
    with pytest.raises(ValueError, match="text_num_heads is 5, expected a divisor of text_hidden_size, 12"):
        build_pretraining_model(model_settings(text_num_heads=5), tokenizer, num_classes=7)
