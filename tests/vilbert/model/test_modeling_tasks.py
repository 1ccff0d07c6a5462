import pytest
import torch
from torch import Tensor
from transformers import AutoModelForMultipleChoice, AutoModelForVisualQuestionAnswering

from vilbert.conversion.convert import MODELS


def model_of(task: str, config) -> torch.nn.Module:
    torch.manual_seed(0)
    return MODELS[task][config.model_type != "vilbert"](config).eval()


@pytest.mark.parametrize("task", MODELS)
def test_a_saved_model_is_the_same_to_the_last_bit(any_config, task, tmp_path):
    model = model_of(task, any_config)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    state, other = model.state_dict(), again.state_dict()
    assert state.keys() == other.keys()
    assert all(torch.equal(state[name], other[name]) for name in state)
    assert (tmp_path / "model.safetensors").is_file()


@pytest.mark.parametrize("task", ["vqa", "vcr", "refcoco", "retrieval"])
def test_a_task_starts_from_a_pretrained_trunk(any_config, task, tmp_path):
    pretrained = model_of("pretraining", any_config)
    pretrained.save_pretrained(tmp_path)
    model = MODELS[task][any_config.model_type != "vilbert"].from_pretrained(tmp_path)
    trunk, other = pretrained.vilbert.state_dict(), model.vilbert.state_dict()
    assert all(torch.equal(trunk[name], other[name]) for name in trunk)


@pytest.mark.parametrize(
    ("task", "shape"), [("vqa", (3, 31)), ("refcoco", (3, 11)), ("retrieval", (3,)), ("vcr", (3,))]
)
def test_logits_have_the_shape_of_the_task(any_config, batch, task, shape):
    output = model_of(task, any_config)(**batch, output_attentions=True)
    assert output.logits.shape == shape
    assert output.loss is None
    assert output.attentions.text[0].shape == (3, 3, 13, 13)


@pytest.mark.parametrize("kind", ["relu", "gelu_norm"])
def test_answers_cost_the_sum_over_answers(two_stream_config, batch, kind):
    model = model_of("vqa", two_stream_config(answer_head=kind))
    labels = torch.zeros(3, 31)
    labels[0, 4] = 0.6
    output = model(**batch, labels=labels)
    expected = -(labels * output.logits.sigmoid().log() + (1 - labels) * (1 - output.logits.sigmoid()).log())
    torch.testing.assert_close(output.loss, expected.sum(-1).mean())
    with pytest.raises(ValueError, match=r"labels has the shape \[3, 7\], expected .*\[3, 31\]"):
        model(**batch, labels=labels[:, :7])


def test_padding_is_never_pointed_at(any_config, batch):
    model = model_of("refcoco", any_config)
    output = model(**batch, labels=torch.zeros(3, 11))
    assert (output.logits[2, 5:] < -9000).all()
    assert (output.logits[:2] > -9000).all()
    real = output.logits[batch["visual_attention_mask"].bool()]
    torch.testing.assert_close(output.loss, torch.nn.functional.softplus(real).sum() / 3)


def choices(batch: dict[str, Tensor], num: int) -> dict[str, Tensor]:
    """`num` texts an image, each another."""
    text = {name: batch[name][:, None].repeat(1, num, 1) for name in ("input_ids", "token_type_ids", "attention_mask")}
    text["input_ids"][..., 1] = torch.arange(3 * num).reshape(3, num)
    return batch | text


@pytest.mark.parametrize("has_image_a_choice", [False, True])
def test_choices_are_scored_as_pairs(any_config, batch, has_image_a_choice):
    model = model_of("vcr", any_config)
    four = choices(batch, 4)
    if has_image_a_choice:
        for name in ("visual_features", "visual_boxes", "visual_attention_mask"):
            four[name] = torch.stack([four[name]] * 4, dim=1)
    output = model(**four, labels=torch.tensor([3, 0, 2]))
    pairs = {name: value.flatten(0, 1) for name, value in choices(batch, 4).items() if name[:6] != "visual"}
    pairs |= {name: batch[name].repeat_interleave(4, dim=0) for name in batch if name[:6] == "visual"}
    torch.testing.assert_close(output.logits, model(**pairs).logits.reshape(3, 4))
    expected = -output.logits.log_softmax(-1)[torch.arange(3), torch.tensor([3, 0, 2])].mean()
    torch.testing.assert_close(output.loss, expected)


def test_choices_have_the_task_of_their_image_or_their_own(two_stream_config, batch):
    model, four = model_of("vcr", two_stream_config(num_task_tokens=5)), choices(batch, 4)
    tasks = torch.tensor([0, 3, 4])
    one = model(**four, task_ids=tasks).logits
    assert one.shape == (3, 4)
    torch.testing.assert_close(model(**four, task_ids=tasks[:, None].repeat(1, 4)).logits, one)
    assert not torch.allclose(model(**four, task_ids=tasks.flip(0)).logits, one)


def test_a_text_without_a_batch_is_refused(any_config, batch):
    batch["input_ids"] = batch["input_ids"][0]
    with pytest.raises(ValueError, match=r"input_ids has the shape \[13\], expected \[B, M, T\] or \[B, T\]"):
        model_of("vcr", any_config)(**batch)


@pytest.mark.parametrize(
    ("auto_class", "task"), [(AutoModelForVisualQuestionAnswering, "vqa"), (AutoModelForMultipleChoice, "vcr")]
)
def test_auto_classes_know_the_task(any_config, auto_class, task, tmp_path):
    model = model_of(task, any_config)
    model.save_pretrained(tmp_path)
    assert type(auto_class.from_pretrained(tmp_path)) is type(model)


@pytest.mark.parametrize(
    ("task", "head"),
    [
        ("pretraining", "alignment_head"),
        ("vqa", "answer_head"),
        ("vcr", "score_head"),
        ("refcoco", "grounding_head"),
        ("retrieval", "score_head"),
    ],
)
def test_what_a_head_reads_is_dropped_in_training_alone(any_config, batch, task, head):
    model, read = model_of(task, any_config), []
    getattr(model, head).register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    model.dropout.p = 1.0
    model.train()(**batch)
    model.eval()(**batch)
    assert (read[0] == 0).all()
    assert (read[1] != 0).any()


def test_pairs_that_do_not_compete_have_no_loss(any_config, batch):
    with pytest.raises(ValueError, match=r"logits has the shape \[3\], expected \[B, M\] where labels are given"):
        model_of("retrieval", any_config)(**batch, labels=torch.tensor([1, 0, 1]))
