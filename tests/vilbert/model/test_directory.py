import pytest
from small_configs import make_two_stream

from vilbert.batches.tokens import train_tokenizer
from vilbert.model.directory import demand_model, read_processor, write_model
from vilbert.model.modeling_vilbert import VilbertForPreTraining
from vilbert.model.processing_vilbert import VilbertProcessor


def write(path):
    processor = VilbertProcessor(train_tokenizer(["a red circle"], vocab_size=53))
    network = VilbertForPreTraining(make_two_stream())
    write_model(network, processor, path, classes=("background", "circle"), provenance={"seed": 7}, card="# A model")


def test_a_model_stands_with_its_processor_and_what_it_was_made_of(tmp_path):
    write(tmp_path / "model")
    assert {"config.json", "model.safetensors", "classes.json", "provenance.json", "README.md"} <= {
        path.name for path in (tmp_path / "model").iterdir()
    }
    read_processor(tmp_path / "model")


def test_a_full_disk_is_an_error_that_leaves_the_model_before(tmp_path, largest_file):
    write(tmp_path / "model")
    before = (tmp_path / "model/model.safetensors").read_bytes()
    with largest_file(5_000), pytest.raises(OSError, match=r"model could not be written: .*; make room"):
        write(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model/model.safetensors").read_bytes() == before


def test_a_folder_that_holds_no_model_is_named_before_a_hub_is_asked_for_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nomodel is no model directory: it holds no config.json"):
        demand_model(tmp_path / "nomodel")


@pytest.mark.parametrize("num_bytes", [0, 5, 1_000, -1])
def test_weights_that_are_cut_off_are_named(tmp_path, num_bytes):
    write(tmp_path / "model")
    demand_model(tmp_path / "model")
    weights = tmp_path / "model/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:num_bytes])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged \(.*\); copy or make the model anew"):
        demand_model(tmp_path / "model")


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "processor_config.json"])
def test_a_processor_that_is_cut_off_is_named(tmp_path, name):
    write(tmp_path / "model")
    path = tmp_path / "model" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"processor of .*model is damaged \(.*\); copy or make the model anew"):
        read_processor(tmp_path / "model")
