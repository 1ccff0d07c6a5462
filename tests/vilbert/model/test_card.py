from small_configs import make_two_stream

from vilbert.model.card import model_card
from vilbert.model.modeling_vilbert import VilbertForPreTraining


def test_a_card_tells_the_model_and_every_measure_with_what_it_is_read_against():
    model = VilbertForPreTraining(make_two_stream())
    rows = [
        {"split": "val", "measure": "accuracy", "value": 0.123456, "rule": None, "num_examples": 7},
        {"split": "testA", "measure": "accuracy", "value": 0.5, "rule": 0.25, "num_examples": 11},
    ]
    card = model_card("ViLBERT, pretrained", model, rows)
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert f"VilbertForPreTraining, {model.num_parameters():,} parameters" in card
    assert "model = vilbert.VilbertForPreTraining.from_pretrained(folder)" in card
    assert "| split | measure | value | rule | num_examples |\n| --- | --- | --- | --- | --- |\n" in card
    assert "| val | accuracy | 0.1235 |  | 7 |\n| testA | accuracy | 0.5 | 0.25 | 11 |\n" in card
