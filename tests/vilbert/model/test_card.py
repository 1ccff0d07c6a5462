import re

import pytest
from small_configs import make_two_stream

from vilbert.conversion.convert import MODELS
from vilbert.model.card import model_card
from vilbert.model.modeling_tasks import SINGLE_LABEL, VilbertForClassification
from vilbert.model.modeling_vilbert import VilbertForPreTraining


def test_a_card_tells_the_model_and_every_measure_with_what_it_is_read_against():
    model = VilbertForPreTraining(make_two_stream())
    rows = [
        {"split": "val", "measure": "accuracy", "value": 0.123456, "rule": None, "num_examples": 7},
        {"split": "testA", "measure": "accuracy", "value": 0.5, "rule": 0.25, "num_examples": 11},
    ]
    made_of = {"regions": {"detector": "abc"}, "pretraining": {"seed": 3}, "inputs": {"tokens": "def"}}
    card = model_card("ViLBERT, pretrained", model, rows, data="5 pairs", made_of=made_of)
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert f"VilbertForPreTraining, {model.num_parameters():,} parameters" in card
    assert "model = vilbert.VilbertForPreTraining.from_pretrained(folder)" in card
    assert "| split | measure | value | rule | num_examples |\n| --- | --- | --- | --- | --- |\n" in card
    assert "| val | accuracy | 0.1235 |  | 7 |\n| testA | accuracy | 0.5 | 0.25 | 11 |\n" in card
    assert re.findall("^## (.*)$", card, re.MULTILINE) == ["How to use it", "Data", "Measures", "Limits", "Settings"]
    assert "It has learnt of 5 pairs. Its regions were found by the detector of the sha256 `abc`" in card
    assert "- A text has at most 23 tokens" in card
    assert card.endswith("```yaml\npretraining:\n  seed: 3\n```\n")


@pytest.mark.parametrize("kind", [*(kinds[0] for kinds in MODELS.values()), VilbertForClassification])
def test_a_card_tells_the_limits_of_the_task(kind):
    model = kind(make_two_stream(problem_type=SINGLE_LABEL))
    rows = [{"split": "val", "measure": "accuracy", "value": 0.5}]
    limits = model_card("ViLBERT", model, rows, data="5 rows", made_of={}).partition("## Limits")[2]
    has_answers = kind.__name__.endswith(("QuestionAnswering", "Classification"))
    assert ("It knows the 31 " in limits) == has_answers
    can_be_asked = not kind.__name__.endswith("MultipleChoice")  # vilbert.pipeline refuses that one
    assert ("vilbert.pipeline(folder)" in model_card("ViLBERT", model, rows, data="5 rows", made_of={})) == can_be_asked
    assert "`unknown`" in model_card("ViLBERT", model, rows, data="5 rows", made_of={})
