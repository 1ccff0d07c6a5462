import pytest
import torch
from small_configs import make_single_stream, make_two_stream

from vilbert.model.modeling_single_stream import VilbertSingleStreamForPreTraining
from vilbert.model.modeling_tasks import VilbertForQuestionAnswering
from vilbert.model.modeling_vilbert import VilbertForPreTraining
from vilbert.tasks.zero_shot import load


@pytest.mark.parametrize("is_two_stream", [True, False])
def test_the_pretrained_alignment_head_is_what_ranks(tmp_path, is_two_stream):
    config = make_two_stream() if is_two_stream else make_single_stream()
    saved = (VilbertForPreTraining if is_two_stream else VilbertSingleStreamForPreTraining)(config)
    saved.save_pretrained(tmp_path)
    model = load(tmp_path)
    assert not model.training
    assert torch.equal(model.alignment_head.weight.cpu(), saved.alignment_head.weight)


def test_a_model_without_that_head_is_refused(tmp_path):
    """A new head would rank by chance."""
    VilbertForQuestionAnswering(make_two_stream(num_labels=5)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds no alignment head, expected a pretrained model"):
        load(tmp_path)
