import json

import torch
from pretraining_world import CLASSES, model_settings
from transformers import AutoProcessor, AutoTokenizer, BertConfig, BertForPreTraining, set_seed

from vilbert.model.modeling_vilbert import VilbertForPreTraining
from vilbert.pretraining.building import build_pretraining_model
from vilbert.pretraining.untrained import main
from vilbert.tasks.zero_shot import load


def test_it_is_what_a_pretraining_of_this_seed_starts_from_and_knows_its_regions(world, tmp_path):
    main(world.tokenizer, world.stores, tmp_path / "model", model_settings(), seed=7)
    model = VilbertForPreTraining.from_pretrained(tmp_path / "model")
    words = AutoProcessor.from_pretrained(tmp_path / "model").tokenizer
    set_seed(7)
    start = build_pretraining_model(model_settings(), words, num_classes=len(CLASSES)).state_dict()
    assert all(torch.equal(weights, start[name]) for name, weights in model.state_dict().items())
    provenance = json.loads((tmp_path / "model/provenance.json").read_text())
    assert (provenance["seed"], provenance["regions"]["detector"]) == (7, "0")
    assert json.loads((tmp_path / "model/classes.json").read_text()) == list(CLASSES)
    load(tmp_path / "model")  # with an alignment head, which ranks by chance


def test_its_text_stream_is_the_bert_that_is_named(world, tmp_path):
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 19}
    num_words = len(AutoTokenizer.from_pretrained(world.tokenizer))
    bert = BertForPreTraining(BertConfig(vocab_size=num_words, **sizes))
    bert.save_pretrained(tmp_path / "bert")
    main(world.tokenizer, world.stores, tmp_path / "model", model_settings(text_init=str(tmp_path / "bert")), seed=7)
    model = VilbertForPreTraining.from_pretrained(tmp_path / "model")
    ours, theirs = model.vilbert.text_layers[1].attention.query.weight, bert.bert.encoder.layer[1].attention.self.query
    torch.testing.assert_close(ours, theirs.weight)
