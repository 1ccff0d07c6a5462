import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertForPreTraining, BertModel

from vilbert.conversion.text_init import text_init
from vilbert.model.modeling_single_stream import VilbertSingleStreamForPreTraining
from vilbert.model.modeling_vilbert import VilbertForPreTraining, VilbertModel


def bert(tmp_path, bert_class, **changed):
    sizes = {
        "vocab_size": 53,
        "hidden_size": 12,
        "num_hidden_layers": 4,
        "num_attention_heads": 3,
        "intermediate_size": 19,
        "max_position_embeddings": 23,
        "initializer_range": 0.3,
    }
    torch.manual_seed(2)
    model = bert_class(BertConfig(**(sizes | changed))).eval()
    model.save_pretrained(tmp_path)
    return model


@pytest.mark.parametrize("bert_class", [BertModel, BertForMaskedLM, BertForPreTraining])
def test_the_text_stream_without_co_attention_is_bert(tmp_path, two_stream_config, batch, bert_class):
    reference = bert(tmp_path, bert_class)
    model = VilbertForPreTraining(two_stream_config(text_co_layers=(), visual_co_layers=())).eval()
    text_init(model, tmp_path)
    text = {name: batch[name] for name in ("input_ids", "token_type_ids", "attention_mask")}
    with torch.inference_mode():
        expected = reference.base_model(**text).last_hidden_state
        output = model.double()(**batch)
        expected64 = reference.double().base_model(**text).last_hidden_state
    is_text = batch["attention_mask"].bool()
    torch.testing.assert_close(output.text_states[is_text], expected64[is_text], atol=1e-9, rtol=0)
    torch.testing.assert_close(output.text_states[is_text].float(), expected[is_text], atol=1e-5, rtol=0)
    if bert_class is not BertModel:
        with torch.inference_mode():
            logits = reference(**text)
        logits = logits.logits if bert_class is BertForMaskedLM else logits.prediction_logits
        torch.testing.assert_close(output.token_logits[is_text], logits[is_text], atol=1e-9, rtol=0)


def test_only_what_bert_has_is_filled(tmp_path, two_stream_config):
    bert(tmp_path, BertForPreTraining)
    torch.manual_seed(3)
    model = VilbertForPreTraining(two_stream_config())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    filled = text_init(model, str(tmp_path))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed <= set(filled)
    parts = ("vilbert.text_embeddings.", "vilbert.text_layers.", "token_head.")
    assert all(name.startswith(parts) for name in filled)
    assert {name for name in before if name.startswith(parts)} == set(filled)
    assert model.token_head.decoder.weight is model.get_input_embeddings().weight


def test_a_decoder_of_its_own_is_filled_with_bert_s(tmp_path, two_stream_config):
    reference = bert(tmp_path, BertForPreTraining)
    model = VilbertForPreTraining(two_stream_config(tie_word_embeddings=False))
    text_init(model, tmp_path)
    assert model.token_head.decoder.weight is not model.get_input_embeddings().weight
    assert torch.equal(model.token_head.decoder.weight, reference.cls.predictions.decoder.weight)


def test_a_trunk_alone_is_filled_too(tmp_path, two_stream_config):
    reference = bert(tmp_path, BertModel)
    model = VilbertModel(two_stream_config())
    text_init(model, tmp_path)
    assert torch.equal(model.text_embeddings.word.weight, reference.embeddings.word_embeddings.weight)


def test_the_single_stream_takes_bert_s_pooler(tmp_path, single_stream_config):
    reference = bert(tmp_path, BertForPreTraining, num_hidden_layers=2)
    model = VilbertSingleStreamForPreTraining(single_stream_config())
    filled = text_init(model, tmp_path)
    assert torch.equal(model.vilbert.pooler.weight, reference.bert.pooler.dense.weight)
    assert torch.equal(model.alignment_head.weight[1], reference.cls.seq_relationship.weight[0])
    assert "vilbert.layers.1.attention.query.weight" in filled


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"vocab_size": 59}, r"text_embeddings.word.weight is \[59, 12\], expected \[53, 12\]"),
        ({"num_hidden_layers": 3}, "has no tensor for 'vilbert.text_layers.3"),
        ({"num_hidden_layers": 5}, "has 'vilbert.text_layers.4.*more layers than the model"),
        ({"num_attention_heads": 2}, "num_attention_heads is 2, expected 3"),
        ({"hidden_act": "relu"}, "hidden_act is relu, expected gelu"),
    ],
)
def test_another_size_of_bert_is_named(tmp_path, two_stream_config, changed, message):
    bert(tmp_path, BertModel, **changed)
    with pytest.raises(ValueError, match=message):
        text_init(VilbertForPreTraining(two_stream_config()), tmp_path)


def test_another_model_is_named(tmp_path, two_stream_config):
    """RoBERTa's trunk has BERT's tensors, and counts its positions from another number."""
    bert(tmp_path, BertModel)
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    with pytest.raises(ValueError, match="model_type is roberta, expected bert"):
        text_init(VilbertForPreTraining(two_stream_config()), tmp_path)


def test_a_hub_name_is_read_from_the_hub_s_cache(tmp_path, monkeypatch, two_stream_config):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    commit, folder = "0123456789" * 4, tmp_path / "models--some--bert"
    reference = bert(folder / "snapshots" / commit, BertModel)
    (folder / "refs").mkdir()
    (folder / "refs/main").write_text(commit)
    model = VilbertForPreTraining(two_stream_config())
    text_init(model, "some/bert")
    assert torch.equal(model.get_input_embeddings().weight, reference.embeddings.word_embeddings.weight)
    with pytest.raises(FileNotFoundError, match="in some/roberta: expected a BERT folder or hub name"):
        text_init(model, "some/roberta")


def test_a_folder_without_weights_is_named(tmp_path, two_stream_config):
    with pytest.raises(FileNotFoundError, match=r"no model.safetensors or pytorch_model.bin in"):
        text_init(VilbertForPreTraining(two_stream_config()), tmp_path)
