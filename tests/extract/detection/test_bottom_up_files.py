"""Files of weights of bottom-up attention's family that are not what they should be, and the names of its classes."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from bottom_up_weights import load, save_weights, tiny_weights

from extract.cleaning.relatedness import ClassNames


def test_weights_with_another_digest_or_architecture_are_refused(random_weights, tmp_path):
    digest = hashlib.sha256(random_weights.read_bytes()).hexdigest()
    assert load(random_weights, sha256=digest).identity["sha256"] == digest
    with pytest.raises(ValueError, match=rf"random\.pkl has the sha256 {digest}, expected 00; delete it"):
        load(random_weights, sha256="00")
    (tmp_path / "other.pkl").write_bytes(pickle.dumps({"fc.weight": np.zeros(3, np.float32)}))
    with pytest.raises(ValueError, match=r"other\.pkl holds no Faster R-CNN on ResNet-C4"):
        load(tmp_path / "other.pkl")


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("backbone.stem.conv1.weight", (), r"backbone\.stem\.conv1\.weight is of shape \(\), expected 4 sizes"),
        ("backbone.res4.0.conv1.weight", (7,), r"backbone\.res4\.0\.conv1\.weight is of shape \(7,\)"),
        ("backbone.res3.1.conv2.weight", (), r"size mismatch for backbone\.res3\.1\.conv2\.weight"),
        ("backbone.res3.0.conv1.weight", (4, 11, 1, 1), r"size mismatch for backbone\.res3\.0\.conv1\.weight"),
        ("roi_heads.res5.0.conv1.weight", (0, 32, 1, 1), r"res5\.0\.conv1\.weight is of shape \(0, 32, 1, 1\)"),
        (
            "proposal_generator.rpn_head.objectness_logits.weight",
            (15, 13, 1, 1),
            r"rpn\.objectness_logits\.weight",
        ),
        ("roi_heads.box_predictor.cls_score.weight", (12,), r"cls_score\.weight is of shape \(12,\), expected 2 sizes"),
        ("roi_heads.box_predictor.cls_score.weight", (12, 67), "size mismatch for cls_score\\.weight"),
        (
            "roi_heads.box_predictor.cls_embedding.weight",
            (11, 3),
            "mismatch for attribute_head\\.cls_embedding",
        ),
    ],
)
def test_a_weight_of_another_shape_is_named(tmp_path, name, shape, message):
    path = save_weights(tmp_path / "model.pkl", tiny_weights() | {name: np.zeros(shape, np.float32)})
    with pytest.raises(ValueError, match=rf"model\.pkl holds no Faster R-CNN on ResNet-C4 .*(?s:.*){message}"):
        load(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("backbone.stem.conv1.weight", r"backbone\.stem\.conv1\.weight is missing, expected 4 sizes"),
        ("roi_heads.box_predictor.cls_score.bias", r'Missing key\(s\) in state_dict: "cls_score\.bias"'),
    ],
)
def test_a_missing_weight_is_named(tmp_path, name, message):
    weights = tiny_weights()
    del weights[name]
    with pytest.raises(ValueError, match=message):
        load(save_weights(tmp_path / "model.pkl", weights))


def test_weights_that_are_objects_are_refused(tmp_path):
    path = save_weights(tmp_path / "model.pkl", tiny_weights() | {"a": np.array([1, None], object)})
    with pytest.raises(ValueError, match=r"model\.pkl is no pickle of numbers: it holds an array of objects"):
        load(path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array(["a"]), "is an array of <U1, expected numbers"),
        ([1.0, 2.0], "is a list, expected an array of numbers"),
    ],
)
def test_what_is_no_array_of_numbers_is_named(tmp_path, array, message):
    name = "backbone.stem.conv1.weight"
    with pytest.raises(ValueError, match=rf"model\.pkl: {name} {message}"):
        load(save_weights(tmp_path / "model.pkl", tiny_weights() | {name: array}))


def test_classes_and_attributes_have_the_names_of_the_file_or_what_no_caption_says(random_weights, tmp_path):
    unnamed = load(random_weights).classes
    assert len(set(unnamed)) == 12
    assert not ClassNames(unnamed, word_counts={}).mentions("2 dogs and 11 cats, 1 of them in class 3")
    names = [f"thing {letter},{letter}" for letter in "abcdefghijk"]
    path = tmp_path / "names.txt"
    path.write_text("\n".join(names) + "\n")
    named = load(random_weights, class_names=str(path))
    assert named.classes == ("background", *names)
    path.write_text("red\nold\nwet\ntall\nblue\nthin\nwooden\n")
    assert load(random_weights, attribute_names=str(path)).attributes[:3] == ("red", "old", "wet")
    assert named.identity == load(random_weights).identity


@pytest.mark.parametrize(
    ("names", "found"),
    [("a\n" * 12, "12 lines, 0 of"), ("a\n" * 10, "10 lines, 0 of"), ("a\n\n" + "a\n" * 9, "11 lines, 1 of")],
)
def test_names_of_other_classes_are_refused(random_weights, tmp_path, names, found):
    (tmp_path / "names.txt").write_text(names)
    with pytest.raises(ValueError, match=rf"names\.txt has {found} them empty, expected the 11 names"):
        load(random_weights, class_names=str(tmp_path / "names.txt"))


def test_a_checkpoint_is_read_and_a_damaged_one_is_named(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"model": {name: torch.from_numpy(array) for name, array in tiny_weights().items()}}, path)
    assert load(path).feature_size == 64
    pickled = path.read_bytes()
    for damaged in (pickled[:-1000], pickled.replace(b"_rebuild_tensor_v2", b"_rebuild_tensor_vX")):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.pth is damaged or holds more than tensors"):
            load(path)
