"""A graph gives the numbers of the model, at sizes that it was not traced with."""

import numpy as np
import pytest
import torch
from small_configs import make_single_stream, make_two_stream
from torch import Tensor

from vilbert.conversion import export as exporting
from vilbert.conversion.convert import MODELS
from vilbert.conversion.export import export
from vilbert.model.modeling_single_stream import VilbertSingleStreamForClassification
from vilbert.model.modeling_tasks import MULTI_LABEL, VilbertForClassification
from vilbert.model.modeling_vilbert import VilbertModel

pytestmark = pytest.mark.filterwarnings("ignore:The given buffer is not writable:UserWarning")  # torch.export.load's

KINDS = {**MODELS, "classification": (VilbertForClassification, VilbertSingleStreamForClassification)}
CHOICES = {"vcr": 5}
SIZES = [(3, 13, 11), (1, 2, 1)]  # pairs, tokens, regions
PROGRAMS = [*((task, False) for task in KINDS), ("vqa", True)]
GRAPHS = [("pretraining", False), ("vcr", False), ("refcoco", True)]


def saved(folder, task: str, is_single: bool, **changed) -> torch.nn.Module:
    torch.manual_seed(0)
    config = (make_single_stream if is_single else make_two_stream)(problem_type=MULTI_LABEL, **changed)
    model = KINDS[task][is_single](config).eval()
    model.save_pretrained(folder)
    return model


def inputs_of(task: str, pairs: int, tokens: int, regions: int) -> dict[str, Tensor]:
    """With padding where there is room for it."""
    generator = torch.Generator().manual_seed(pairs)
    texts = (pairs, CHOICES[task], tokens) if task in CHOICES else (pairs, tokens)
    attention_mask, visual_mask = torch.ones(texts, dtype=torch.long), torch.ones(pairs, regions, dtype=torch.long)
    attention_mask[-1, ..., 2:] = visual_mask[-1, 3:] = 0
    corners = torch.rand(pairs, regions, 5, generator=generator)
    return {
        "input_ids": torch.randint(5, 53, texts, generator=generator),
        "token_type_ids": torch.randint(0, 2, texts, generator=generator),
        "attention_mask": attention_mask,
        "visual_features": torch.rand(pairs, regions, 17, generator=generator),
        "visual_boxes": corners,
        "visual_attention_mask": visual_mask,
    }


@torch.no_grad()
def demand_equal(run, model, inputs: dict[str, Tensor]) -> None:
    expected, given = model(**inputs), run(inputs)
    assert list(given) in (["logits"], ["token_logits", "region_logits", "alignment_logits"])
    for name, value in given.items():
        torch.testing.assert_close(torch.as_tensor(value), expected[name], atol=1e-5, rtol=1e-5)


def run_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]

    def run(inputs: dict[str, Tensor]) -> dict[str, np.ndarray]:
        assert {one.name for one in session.get_inputs()} == inputs.keys()
        return dict(zip(names, session.run(None, {k: v.numpy() for k, v in inputs.items()}), strict=True))

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("task", "is_single"), PROGRAMS)
def test_an_exported_program_gives_the_model_s_numbers_at_any_size(tmp_path, task, is_single):
    model = saved(tmp_path, task, is_single)
    said = export(tmp_path, tmp_path / "model.pt2")
    assert said[3] == "visual_features [B, R, 17]"
    module = torch.export.load(tmp_path / "model.pt2").module()
    for sizes in SIZES:
        demand_equal(lambda inputs: module(**inputs), model, inputs_of(task, *sizes))


@pytest.mark.slow
@pytest.mark.parametrize(("task", "is_single"), GRAPHS)
def test_onnxruntime_gives_the_model_s_numbers_at_any_size(tmp_path, task, is_single):
    model = saved(tmp_path, task, is_single)
    export(tmp_path, tmp_path / "model.onnx")
    assert {path.suffix for path in tmp_path.iterdir() if path.name.startswith("model")} == {".onnx", ".safetensors"}
    run = run_onnx(tmp_path / "model.onnx")
    for sizes in SIZES:
        demand_equal(run, model, inputs_of(task, *sizes))


@pytest.mark.slow
def test_a_model_with_task_tokens_is_told_its_tasks(tmp_path):
    model = saved(tmp_path, "retrieval", False, num_task_tokens=3)
    export(tmp_path, tmp_path / "model.pt2")
    inputs = inputs_of("retrieval", 3, 13, 11) | {"task_ids": torch.tensor([0, 2, 1])}
    module = torch.export.load(tmp_path / "model.pt2").module()
    demand_equal(lambda given: module(**given), model, inputs)


def test_what_cannot_be_exported_is_said_in_a_sentence(tmp_path, monkeypatch):
    VilbertModel(make_two_stream()).save_pretrained(tmp_path / "trunk")
    with pytest.raises(ValueError, match="holds a VilbertModel, expected one with a head"):
        export(tmp_path / "trunk", tmp_path / "a.pt2")
    with pytest.raises(ValueError, match=r"a.bin ends with '.bin', expected .onnx or .pt2"):
        export(tmp_path / "trunk", tmp_path / "a.bin")
    with pytest.raises(FileNotFoundError, match="is no model directory"):
        export(tmp_path / "nowhere", tmp_path / "a.onnx")
    saved(tmp_path / "model", "vqa", False)
    monkeypatch.setattr(exporting, "LARGEST_ONNX", 101)
    with pytest.raises(ValueError, match=r"the weights are [\d,]+ bytes, expected less than 101; write a .pt2"):
        export(tmp_path / "model", tmp_path / "a.onnx")
    assert not list(tmp_path.glob("*.onnx"))
