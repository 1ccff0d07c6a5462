"""The published code's numbers, through the converter: logits, losses, gradients, attention maps.

Own small cases (write_reference.py) always run; those of the published code run where ../shared/parity is there.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from places import PARITY, REFERENCE
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.utils import ModelOutput

from vilbert.conversion.convert import MODELS, convert, translate

SHARED_CASES = ("vmt/case_1", "vmt/case_2", "vmt/case_5", "vmt/case_6", "beta/case_1", "beta/case_2", "beta/case_5")
needs_shared = pytest.mark.skipif(not PARITY.is_dir(), reason=f"no fixtures of the published code at {PARITY}")


def named(own: tuple[str, ...], shared: tuple[str, ...]) -> list:
    """Cases as parameters of a test."""
    cases = [pytest.param(REFERENCE / name, id=name) for name in own]
    return cases + [pytest.param(PARITY / name, id=name, marks=needs_shared) for name in shared]


CASES = named(("two_stream", "single_stream"), SHARED_CASES)
WITH_LABELS = named(("two_stream",), ("vmt/case_1", "vmt/case_6", "beta/case_1"))
WITH_MAPS = named(("two_stream",), ("vmt/case_5", "beta/case_1"))
TOLERANCE = {torch.float64: {"atol": 1e-9, "rtol": 0}, torch.float32: {"atol": 1e-4, "rtol": 1e-7}}


@dataclass
class Case:
    """A fixture, and where its checkpoint and its config lie."""

    described: dict
    tensors: dict[str, Tensor]
    folder: Path

    def model(self, task: str, dtype: torch.dtype):
        """What the converter makes of the checkpoint, loaded again."""
        out_dir = self.folder / f"{task}_{dtype}"
        if not out_dir.exists():
            checkpoint = self.folder / f"{dtype}.safetensors"
            save_file(self._of("param/", dtype), checkpoint)
            convert(checkpoint, out_dir, config_path=self.folder / "config.json", task=task)
        model = MODELS[task][self.described["kind"] == "baseline"].from_pretrained(out_dir)
        assert model.dtype == dtype
        return model.eval()

    def tasks(self) -> list[str]:
        heads = {"vqa": "vil_prediction", "vcr": "vil_logit", "retrieval": "vil_logit", "refcoco": "vision_logit"}
        there = {name.split("/")[2] for name in self.tensors if name.startswith("out/")}
        return ["pretraining", *(task for task, output in heads.items() if output in there)]

    def batches(self) -> list[str]:
        return sorted({name.split("/")[1] for name in self.tensors if name.startswith("in/")})

    def inputs(self, batch: str, dtype: torch.dtype) -> dict[str, Tensor]:
        given = self._of(f"in/{batch}/", dtype)
        inputs = {
            "input_ids": given["input_ids"],
            "token_type_ids": given["token_type_ids"],
            "attention_mask": given["attention_mask"],
            "visual_features": given["image_feat"],
            "visual_boxes": given["image_loc"],
            "visual_attention_mask": given["image_attention_mask"],
        }
        return inputs | ({"task_ids": given["task_ids"][:, 0]} if "task_ids" in given else {})

    def labels(self, batch: str, dtype: torch.dtype) -> dict[str, Tensor]:
        """The original masks tokens by -1, has no label for region 0, and calls aligned pairs 0."""
        given = self._of(f"in/{batch}/", dtype)
        targets = given["image_target"]
        return {
            "labels": given["masked_lm_labels"].masked_fill(given["masked_lm_labels"] < 0, -100),
            "region_targets": targets[given["image_label"] == 1],
            "region_target_mask": torch.nn.functional.pad(given["image_label"] == 1, (1, 0)),
            "alignment_labels": 1 - given["next_sentence_label"],
        }

    def outputs(self, batch: str, dtype: torch.dtype) -> dict[str, Tensor]:
        return self._of(f"out64/{batch}/" if dtype == torch.float64 else f"out/{batch}/", dtype)

    def _of(self, prefix: str, dtype: torch.dtype) -> dict[str, Tensor]:
        found = {name.removeprefix(prefix): value for name, value in self.tensors.items() if name.startswith(prefix)}
        return {name: value.to(dtype) if value.is_floating_point() else value for name, value in found.items()}


@pytest.fixture(scope="module")
def case(request, tmp_path_factory) -> Case:
    stem, folder = request.param, tmp_path_factory.mktemp("checkpoint")
    described = json.loads(stem.with_suffix(".json").read_text())
    tensors = load_file(stem.with_suffix(".safetensors"))
    (folder / "config.json").write_text(json.dumps(described["config"]))
    return Case(described, tensors, folder)


def given_by(task: str, output: ModelOutput) -> dict[str, Tensor]:
    """Our outputs by the names of the original's."""
    if task == "vqa":
        return {"vil_prediction": output.logits}
    if task == "refcoco":
        return {"vision_logit": output.logits[..., None]}
    if task in ("vcr", "retrieval"):
        return {"vil_logit": output.logits[:, None]}
    aligned_first = output.alignment_logits.flip(-1)
    return {
        "sequence_output_t": output.text_states,
        "sequence_output_v": output.visual_states,
        "pooled_output_t": output.pooled_text,
        "pooled_output_v": output.pooled_visual,
        "pooled_output": output.pooled_text,
        "prediction_scores_t": output.token_logits,
        "prediction_scores_v": output.region_logits,
        "linguisic_prediction": output.token_logits,
        "vision_prediction": output.region_logits,
        "seq_relationship_score": aligned_first,
    }


@pytest.mark.parametrize("case", CASES, indirect=True)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_converted_weights_give_the_originals_outputs(case, dtype):
    num_compared = 0
    for task in case.tasks():
        model = case.model(task, dtype)
        for batch in case.batches():
            expected = case.outputs(batch, dtype)
            with torch.inference_mode():
                given = given_by(task, model(**case.inputs(batch, dtype)))
            if "sequence_output" in expected and task == "pretraining":
                given["sequence_output"] = torch.cat([given["sequence_output_t"], given["sequence_output_v"]], dim=1)
                given["vil_binary_prediction"] = given["seq_relationship_score"]
            for name in given.keys() & expected.keys():
                torch.testing.assert_close(given[name], expected[name], **TOLERANCE[dtype], msg=lambda m, n=name: n + m)
                num_compared += 1
    assert num_compared >= 5 * len(case.batches())


@pytest.mark.parametrize("case", WITH_LABELS, indirect=True)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_losses_and_the_logits_of_masked_positions_are_the_originals(case, dtype):
    names = {"masked_token": "masked_lm_loss", "masked_region": "masked_img_loss", "alignment": "next_sentence_loss"}
    model = case.model("pretraining", dtype)
    for batch in case.batches():
        expected, labels = case.outputs(batch, dtype), case.labels(batch, dtype)
        with torch.inference_mode():
            output = model(**case.inputs(batch, dtype), **labels)
        for ours, theirs in names.items():
            torch.testing.assert_close(output.losses[ours], expected[theirs][0], **TOLERANCE[dtype])
        torch.testing.assert_close(output.loss, sum(expected[name][0] for name in names.values()), **TOLERANCE[dtype])
        is_masked = labels["labels"] != -100
        torch.testing.assert_close(output.token_logits, expected["prediction_scores_t"][is_masked], **TOLERANCE[dtype])


@pytest.mark.parametrize("case", WITH_LABELS, indirect=True)
def test_every_parameter_gets_a_gradient_of_the_originals_length(case):
    norms = case.described["grad_l2_f64_b1_sum_of_3_losses"]
    model = case.model("pretraining", torch.float64)
    model(**case.inputs("b1", torch.float64), **case.labels("b1", torch.float64)).loss.backward()
    state = {name: torch.zeros(2, 2) for name in norms}
    names = translate(state, is_two_stream=True, task="pretraining").mapped
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for key, expected in norms.items():
        parameter = parameters.get(names.get(key, ""))
        if expected is None:
            assert parameter is None, f"{key} has no gradient in the original, {names[key]} is a parameter here"
        else:
            assert parameter.grad.norm().item() == pytest.approx(expected, rel=1e-9, abs=1e-9), key
    reached = {id(parameters[names[key]]) for key, expected in norms.items() if expected is not None}
    assert {id(parameter) for parameter in model.parameters()} == reached


@pytest.mark.parametrize("case", WITH_MAPS, indirect=True)
def test_attention_maps_are_the_originals(case):
    kinds = {"text": "attn_t", "visual": "attn_v", "text_to_visual": "attn_c1", "visual_to_text": "attn_c2"}
    model = case.model("pretraining", torch.float32)
    for batch in case.batches():
        expected = case.outputs(batch, torch.float32)
        with torch.inference_mode():
            attentions = model(**case.inputs(batch, torch.float32), output_attentions=True).attentions
        for ours, theirs in kinds.items():
            maps = getattr(attentions, ours)
            assert len(maps) == sum(name.startswith(f"{theirs}.") for name in expected)
            for index, one in enumerate(maps):
                torch.testing.assert_close(one, expected[f"{theirs}.{index}"], atol=1e-5, rtol=0)
