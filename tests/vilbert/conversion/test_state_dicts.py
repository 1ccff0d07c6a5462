import pickle
import struct
from fractions import Fraction

import pytest
import torch

from vilbert.conversion.state_dicts import own_key, read_state_dict


@pytest.mark.parametrize(
    ("key", "own"),
    [
        ("bert.t_pooler.dense.weight", "bert.t_pooler.dense.weight"),
        ("module.bert.embeddings.LayerNorm.gamma", "bert.embeddings.LayerNorm.weight"),
        ("module.module.cls.predictions.transform.LayerNorm.beta", "cls.predictions.transform.LayerNorm.bias"),
        ("model.bert.encoder.layer.0.output.dense.bias", "bert.encoder.layer.0.output.dense.bias"),
        ("bert.bert.v_pooler.dense.weight", "bert.v_pooler.dense.weight"),
        ("bert.cls.predictions.bias", "cls.predictions.bias"),
        ("bert.classifier.1.weight", "classifier.1.weight"),
        ("model.classifier.0.dense.weight", "classifier.0.dense.weight"),
    ],
)
def test_every_wrapper_s_prefix_comes_off(key, own):
    assert own_key(key) == own


@pytest.mark.parametrize("nest", ["model_state_dict", "state_dict", "model", None])
def test_weights_are_found_beside_the_optimizer(tmp_path, nest):
    weights = {"module.cls.predictions.bias": torch.arange(3.0)}
    torch.save({nest: weights, "optimizer": {"step": 7}} if nest else weights, tmp_path / "pytorch_model.bin")
    assert read_state_dict(tmp_path / "pytorch_model.bin")["cls.predictions.bias"].tolist() == [0, 1, 2]


def test_a_pickle_that_is_more_than_tensors_is_refused(tmp_path):
    torch.save({"bert.weight": torch.zeros(2), "arguments": Fraction(1, 3)}, tmp_path / "model.bin")
    with pytest.raises(
        ValueError, match=r"model.bin is no pickle of tensors alone, refused: it asks for fractions.Fra"
    ):
        read_state_dict(tmp_path / "model.bin")


def test_a_pickle_that_would_run_code_runs_none(tmp_path):
    ran = tmp_path / "ran"

    class Harmful:
        def __reduce__(self):
            return (ran.touch, ())

    (tmp_path / "model.bin").write_bytes(pickle.dumps({"weight": Harmful()}, protocol=2))
    with pytest.raises(ValueError, match="refused"):
        read_state_dict(tmp_path / "model.bin")
    assert not ran.exists()


@pytest.mark.parametrize("name", ["model.bin", "model.safetensors"])
def test_a_file_of_something_else_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"<html>404</html>" * 7)
    with pytest.raises(ValueError, match=name):
        read_state_dict(tmp_path / name)


@pytest.mark.parametrize("is_zip", [True, False])
def test_half_a_file_is_named(tmp_path, is_zip):
    path = tmp_path / "model.bin"
    torch.save({"bert.weight": torch.zeros(97)}, path, _use_new_zipfile_serialization=is_zip)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"model.bin cannot be read as a checkpoint"):
        read_state_dict(path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of protocols and storages that no whole file has
def test_wherever_a_file_is_damaged_or_cut_an_error_names_it(tmp_path):
    """Torch's unpickler lets through whatever its own lines run into: an index, a key, half a number, no utf-8."""
    path, reasons = tmp_path / "model.bin", set()
    torch.save({"bert.weight": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    changed = [whole[:place] + bytes([value]) + whole[place + 1 :] for place in range(len(whole)) for value in b"\0JK"]
    for damaged in changed + [whole[:place] for place in range(len(whole))]:
        path.write_bytes(damaged)
        try:
            read_state_dict(path)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017
            reasons.add(type(error.__cause__))
    assert {IndexError, KeyError, TypeError, AttributeError, AssertionError, struct.error} <= reasons


def test_what_is_no_tensor_is_named(tmp_path):
    torch.save({"bert.weight": torch.zeros(2), "epoch": 7}, tmp_path / "model.bin")
    with pytest.raises(ValueError, match="holds a int as 'epoch', expected tensors only"):
        read_state_dict(tmp_path / "model.bin")
    torch.save([torch.zeros(2)], tmp_path / "list.bin")
    with pytest.raises(ValueError, match="holds a list, expected tensors by name"):
        read_state_dict(tmp_path / "list.bin")


def test_a_file_without_a_tensor_and_one_tensor_under_two_names_are_refused(tmp_path):
    torch.save({}, tmp_path / "model.bin")
    with pytest.raises(ValueError, match=r"model.bin holds no tensor"):
        read_state_dict(tmp_path / "model.bin")
    torch.save({"bert.weight": torch.zeros(2), "module.bert.weight": torch.ones(2)}, tmp_path / "model.bin")
    with pytest.raises(ValueError, match="holds 2 keys that are 1 without prefixes"):
        read_state_dict(tmp_path / "model.bin")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*none.bin"):
        read_state_dict(tmp_path / "none.bin")
