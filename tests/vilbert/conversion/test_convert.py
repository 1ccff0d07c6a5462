import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from places import REFERENCE
from reference_checkpoint import checkpoint
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForPreTraining

from vilbert.batches.tokens import train_tokenizer
from vilbert.conversion.convert import convert, folded, tasks_in
from vilbert.model.directory import read_processor
from vilbert.model.modeling_tasks import VilbertForMultipleChoice, VilbertForQuestionAnswering
from vilbert.model.modeling_vilbert import VilbertForPreTraining


def converted(folder: Path, state: dict[str, Tensor], config: dict | None, task: str | None = None) -> list[str]:
    torch.save(state, folder / "model.bin")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    path = folder / "config.json" if config is not None else None
    return convert(folder / "model.bin", folder / "out", config_path=path, task=task)


def with_task_heads(state: dict[str, Tensor], trained: str) -> dict[str, Tensor]:
    """The heads that vilbert_beta's task class has; only the biases of the one that was trained are not 0."""
    heads = {
        "vil_prediction.main.0.weight_v": torch.randn(20, 10),
        "vil_prediction.main.0.weight_g": torch.tensor(2.0),
        "vil_prediction.main.0.bias": torch.zeros(20),
        "vil_prediction.main.3.weight_v": torch.randn(3, 20),
        "vil_prediction.main.3.weight_g": torch.tensor(3.0),
        "vil_prediction.main.3.bias": torch.zeros(3),
        "vil_logit.weight": torch.randn(1, 10),
        "vil_logit.bias": torch.zeros(1),
        "vision_logit.weight": torch.randn(1, 12),
        "vision_logit.bias": torch.zeros(1),
        "linguisic_logit.weight": torch.randn(1, 8),
        "linguisic_logit.bias": torch.zeros(1),
    }
    biases = {key: torch.ones_like(value) for key, value in heads.items() if key.startswith(trained) and "bias" in key}
    return state | heads | biases


def test_every_key_is_accounted_for(tmp_path):
    state, config = checkpoint()
    lines = converted(tmp_path, state, config)
    for key in state:
        assert sum(line.split()[1].rstrip(":") == key for line in lines) == 1, key
    assert "mapped   bert.t_pooler.dense.weight -> vilbert.text_pooler.weight [10, 8]" in lines
    assert (
        "ignored  bert.encoder.c_layer.0.biOutput.q_dense1.weight: allocated by the original, read by nothing" in lines
    )
    assert lines[-1].startswith("VilbertForPreTraining in ")


def test_wrappers_and_old_names_make_no_difference(tmp_path):
    state, config = checkpoint()
    old = {}
    for key, value in state.items():
        key = key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        old[f"module.{key}"] = value
    for name, tensors in (("new", state), ("old", old)):
        (tmp_path / name).mkdir()
        converted(tmp_path / name, {"model_state_dict": tensors} if name == "old" else tensors, config)
    new, again = (load_file(tmp_path / name / "out/model.safetensors") for name in ("new", "old"))
    assert new.keys() == again.keys()
    assert all(torch.equal(new[name], again[name]) for name in new)


def test_mmf_s_names_and_its_untied_decoder_are_read(tmp_path):
    state, config = checkpoint()
    state["cls.predictions.decoder.weight"] = state["cls.predictions.decoder.weight"] + 1
    del state["cls.bi_seq_relationship.weight"], state["cls.bi_seq_relationship.bias"]
    mmf = {f"model.{key}": value for key, value in state.items()}
    mmf["model.bert.embeddings.position_ids"] = torch.arange(11)[None]
    lines = converted(tmp_path, mmf, config)
    assert "ignored  bert.embeddings.position_ids: the numbers 0, 1, 2, no weight" in lines
    assert "missing  alignment_head.weight: new, drawn from seed 0" in lines
    assert "has_whole_image=False" in lines[-1]
    model = VilbertForPreTraining.from_pretrained(tmp_path / "out")
    assert torch.equal(model.token_head.decoder.weight, state["cls.predictions.decoder.weight"])
    assert torch.equal(model.get_input_embeddings().weight, state["bert.embeddings.word_embeddings.weight"])


def test_weights_that_are_missing_are_drawn_alike_each_time(tmp_path):
    state, config = checkpoint()
    del state["cls.bi_seq_relationship.weight"], state["cls.bi_seq_relationship.bias"]
    drawn = []
    for seed in (3, 5):
        torch.manual_seed(seed)
        (tmp_path / str(seed)).mkdir()
        converted(tmp_path / str(seed), state, config)
        drawn.append(load_file(tmp_path / str(seed) / "out/model.safetensors")["alignment_head.weight"])
    assert torch.equal(*drawn)
    assert torch.rand(1) == torch.rand(1, generator=torch.Generator().manual_seed(5)), "the caller's draws moved on"


def test_mmf_s_classifier_is_the_answer_head(tmp_path):
    state, config = checkpoint()
    head = {
        "classifier.0.dense.weight": torch.randn(10, 10),
        "classifier.0.dense.bias": torch.randn(10),
        "classifier.0.LayerNorm.weight": torch.randn(10),
        "classifier.0.LayerNorm.bias": torch.randn(10),
        "classifier.1.weight": torch.randn(7, 10),
        "classifier.1.bias": torch.randn(7),
    }
    trunk = {key: value for key, value in state.items() if not key.startswith("cls.")}
    converted(tmp_path, {f"model.{key}": value for key, value in (trunk | head).items()}, config)
    model = VilbertForQuestionAnswering.from_pretrained(tmp_path / "out")
    assert model.config.num_labels == 7
    assert model.config.answer_head == "gelu_norm"
    assert torch.equal(model.answer_head.norm.weight, head["classifier.0.LayerNorm.weight"])


def test_the_trained_head_tells_the_task(tmp_path):
    state, config = checkpoint()
    assert tasks_in(state) == ["pretraining"]
    assert tasks_in(with_task_heads(state, "vil_prediction")) == ["vqa"]
    assert tasks_in(with_task_heads(state, "vision_logit")) == ["refcoco"]
    lines = converted(tmp_path, with_task_heads(state, "vil_prediction"), config)
    assert lines[-1].startswith("VilbertForQuestionAnswering")
    assert "ignored  vision_logit.bias: of the head for refcoco" in lines
    folded_key = "vil_prediction.main.3.weight_g and vil_prediction.main.3.weight_v"
    assert f"mapped   {folded_key} -> answer_head.decoder.weight [3, 20]" in lines


def test_an_ambiguous_head_asks_for_the_task(tmp_path):
    state, config = checkpoint()
    state = with_task_heads(state, "vil_logit")
    with pytest.raises(ValueError, match="holds heads for vcr, retrieval: choose one with --task"):
        converted(tmp_path, state, config)
    converted(tmp_path, state, config, task="vcr")
    model = VilbertForMultipleChoice.from_pretrained(tmp_path / "out")
    assert torch.equal(model.score_head.weight, state["vil_logit.weight"])


def test_a_head_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds no head for vqa, but for pretraining; convert that, and VilbertFor"):
        converted(tmp_path, *checkpoint(), task="vqa")


def test_weight_norm_is_folded_over_the_whole_matrix():
    direction = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    state = {"a.weight_v": direction, "a.weight_g": torch.tensor(10.0)}
    assert folded(state)["a.weight"].tolist() == [[6, 0], [0, 8]]
    with pytest.raises(ValueError, match=r"'a.weight_v' has no weight_g beside it"):
        folded({"a.weight_v": direction})


def test_a_length_for_each_row_is_no_weight_norm_of_the_original():
    """Torch's own default: it would spread over the matrix, and give other weights without an error."""
    with pytest.raises(ValueError, match=r"'head.weight_g' has the shape \[5, 1\], expected one length of the matrix"):
        folded({"head.weight_v": torch.ones(5, 3), "head.weight_g": torch.ones(5, 1)})


def test_without_a_config_the_layout_is_the_published_one(tmp_path):
    """Heads of 64 (text), 128 (visual, co): here one each; the last text layers meet the first visual ones."""
    converted(tmp_path, checkpoint()[0], None)
    model = AutoModelForPreTraining.from_pretrained(tmp_path / "out")
    assert model.config.text_co_layers == (1, 2)
    assert model.config.visual_co_layers == (0, 1)
    assert model.config.text_num_heads == model.config.visual_num_heads == model.config.co_num_heads == 1


def test_an_unpublished_layout_needs_its_config(tmp_path):
    state = {key: value for key, value in checkpoint()[0].items() if ".c_layer.1." not in key}
    with pytest.raises(ValueError, match="1 co-attention layers between 3 text and 2 visual layers are no published"):
        converted(tmp_path, state, None)


def test_feature_targets_are_told_from_classes(tmp_path):
    state, config = checkpoint()
    state["cls.imagePredictions.decoder.weight"] = torch.randn(7, 12)
    state["cls.imagePredictions.decoder.bias"] = torch.randn(7)
    converted(tmp_path, state, config | {"v_target_size": 7, "predict_feature": True})
    assert VilbertForPreTraining.from_pretrained(tmp_path / "out").config.visual_target == "features"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hidden_size": 16}, "the config's hidden_size is 16, but the tensors' is 8"),
        ({"v_num_hidden_layers": 3}, "the config's v_num_hidden_layers is 3, but the tensors' is 2"),
        ({"v_target_size": 1601}, "the config's v_target_size is 1601, but the tensors' is 5"),
        ({"num_attention_heads": 3}, "text_num_heads is 3, expected a divisor of text_hidden_size, 8"),
        ({"v_biattention_id": [0], "t_biattention_id": [1]}, r"t_biattention_id are \(1,\), but the tensors have 2"),
        ({"hidden_act": "relu"}, "the config's hidden_act is relu, expected gelu"),
        ({"dynamic_attention": True}, "the config's dynamic_attention is True"),
        ({"visual_target": 7}, "the config's visual_target is 7, expected one of"),
        ({"fusion_method": "cat"}, "fusion is 'cat', expected one of mul, sum"),
        ({"t_biattention_id": 3}, "the config has a value of the wrong kind: 'int' object"),
    ],
)
def test_a_config_that_does_not_fit_the_tensors_is_named(tmp_path, changed, message):
    state, config = checkpoint()
    with pytest.raises(ValueError, match=message):
        converted(tmp_path, state, config | changed)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("text", "message"), [("[7]", "config.json holds a list"), ("{", "config.json is no json")])
def test_a_config_of_something_else_is_named(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        convert(REFERENCE / "two_stream.safetensors", tmp_path / "out", config_path=tmp_path / "config.json", task=None)


def test_a_file_is_never_written_over(tmp_path):
    """save_pretrained only logs it, and nothing is saved."""
    (tmp_path / "out").write_text("a file")
    with pytest.raises(FileExistsError, match="out is a file, expected a folder"):
        converted(tmp_path, *checkpoint())


def test_a_trunk_alone_is_refused(tmp_path):
    state, config = checkpoint()
    trunk = {key: value for key, value in state.items() if key.startswith("bert.")}
    for task in (None, "vqa"):
        with pytest.raises(ValueError, match="holds no trained head"):
            converted(tmp_path, trunk, config, task=task)


def test_another_model_s_checkpoint_is_refused(tmp_path):
    state, config = checkpoint()
    bert = {key: value for key, value in state.items() if key.startswith(("bert.embeddings", "bert.encoder.layer"))}
    with pytest.raises(ValueError, match=r"no 'bert.v_pooler.dense.weight' among .* this is no ViLBERT checkpoint"):
        converted(tmp_path, bert, config)
    with pytest.raises(ValueError, match="this is no ViLBERT checkpoint"):
        converted(tmp_path, {"fc.weight": torch.zeros(2, 2)}, None)
    del state["bert.encoder.c_layer.1.biattention.key2.weight"]
    with pytest.raises(
        ValueError, match=r"1 of the trunk's tensors are missing, 'vilbert.co_layers.1.visual_attention.key"
    ):
        converted(tmp_path, state, config)


def test_a_tensor_of_another_shape_is_named(tmp_path):
    state, config = checkpoint()
    with pytest.raises(ValueError, match=r"'bert.v_pooler.dense.weight' has the shape \[7\], expected 2 dimensions"):
        converted(tmp_path, state | {"bert.v_pooler.dense.weight": torch.zeros(7)}, config)
    state["bert.encoder.layer.1.output.dense.weight"] = torch.zeros(8, 17)
    message = r"vilbert.text_layers.1.feed_forward.output.weight has the shape \[8, 17\], expected \[8, 13\]"
    with pytest.raises(ValueError, match=message):
        converted(tmp_path, state, config)


def test_a_tokenizer_makes_a_processor_that_the_commands_read(tmp_path):
    state, config = checkpoint("single_stream")
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    train_tokenizer(["a red dog"], vocab_size=29).save_pretrained(tmp_path / "tokenizer")
    for out, tokenizer in (("without", None), ("with", str(tmp_path / "tokenizer"))):
        convert(
            tmp_path / "model.safetensors",
            tmp_path / out,
            config_path=tmp_path / "config.json",
            task="vqa",
            tokenizer=tokenizer,
        )
    processor = read_processor(tmp_path / "with")
    assert processor.has_whole_image
    assert processor.tokenizer.tokenize("red dog") == ["red", "dog"]
    with pytest.raises(FileNotFoundError, match=r"holds no processor; convert the checkpoint with --tokenizer"):
        read_processor(tmp_path / "without")


def test_whole_numbers_are_no_weights(tmp_path):
    """Of a quantized file, say: they would be cast, and the model be another."""
    state, config = checkpoint()
    key = "bert.encoder.layer.1.output.dense.weight"
    with pytest.raises(ValueError, match=rf"'{key}' is of torch.int8, expected floating point numbers"):
        converted(tmp_path, state | {key: torch.ones(8, 13, dtype=torch.int8)}, config)


def test_a_segment_table_without_the_regions_row_is_named(tmp_path):
    state, config = checkpoint("single_stream")
    key = "bert.image_embeddings.token_type_embeddings.weight"
    with pytest.raises(ValueError, match=rf"'{key}' has the shape \[1, .*\], expected a row for each of 2 segments"):
        converted(tmp_path, state | {key: state[key][:1]}, config, task="vqa")


@pytest.mark.slow
def test_the_command_converts_and_says_what_is_wrong_in_a_line(tmp_path):
    state, config = checkpoint("single_stream")
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = [
        sys.executable,
        "-m",
        "vilbert.conversion.convert",
        str(tmp_path / "model.safetensors"),
        str(tmp_path / "out"),
    ]
    options = ["--config", str(tmp_path / "config.json"), "--task", "vqa"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folded_key = "vil_prediction.main.0.weight_g and vil_prediction.main.0.weight_v"
    assert f"mapped   {folded_key} -> answer_head.dense.weight [16, 8]" in done.stdout
    assert json.loads((tmp_path / "out/config.json").read_text())["model_type"] == "vilbert_single_stream"
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.strip().splitlines()[-1].startswith("error: the checkpoint holds heads for vqa, vcr, refcoco")
