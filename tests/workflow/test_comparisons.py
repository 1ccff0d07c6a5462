"""Which trainings a grid asks for, under which names, and the models that they are of."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from places import ROOT
from snakemake.utils import update_config

from workflow.comparisons import Comparisons, any_of, at_depth, with_text_init
from workflow.contents import Contents
from workflow.inputs import Inputs
from workflow.paths import demand_paths
from workflow.settings import Settings, check

DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())
BASE = ROOT / "workflow/configs/conceptual_captions.yaml"
BERT_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}


def settings_of(*overlays: Path, **comparison: Any) -> Settings:
    """The default settings, with the half of the data, under some overlays, with some values of the section
    `comparison`."""
    config = copy.deepcopy(DEFAULT)
    config["comparison"]["data_shares"] = [0, 0.5, 1]
    for overlay in overlays:
        update_config(config, yaml.safe_load(overlay.read_text()))
    config["download"]["contact"] = "you@library.example"
    config["comparison"] |= comparison
    return check(config)


def comparisons_of(settings: Settings) -> Comparisons:
    inputs = Inputs(settings, Contents(Path("contents"), looks=False), results="results/x")
    return Comparisons(settings, inputs, results="results/x")


def make_bert(folder: Path, **config: Any) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"} | BERT_LARGE | config))
    return str(folder)


def test_cells_that_coincide_have_one_name_and_run_once():
    grid = comparisons_of(settings_of(depths=[3, 1, 2], data_shares=[0, 0.25, 1], text_inits={"none": None}))
    names = {table: [cell.name for cell in cells.values()] for table, cells in grid.tables.items()}
    whole, untrained = "two_stream-data_100", "two_stream-data_0"
    assert names == {
        "architecture": [whole, untrained, "single_stream-data_100", "single_stream-data_0"],
        "depth": ["two_stream-data_100-depth_1", whole, "two_stream-data_100-depth_3"],
        "data": [untrained, "two_stream-data_25", whole],
        "text_init": [whole],  # model.text_init is null, too
    }
    assert len(grid.cells) == 7
    files = grid.files()
    assert len(set(files)) == len(files)


def test_what_the_run_trains_anyway_is_taken_from_there():
    grid = comparisons_of(settings_of())  # whose own seeds are 1
    whole = "two_stream-data_100"
    assert grid.folder(whole, 1, "pretraining") == "results/x/pretrain"
    assert grid.folder(whole, 1, "vqa") == "results/x/finetune/vqa"
    assert grid.folder(whole, 1, "zero_shot_retrieval") == "results/x/zero_shot_retrieval"
    assert grid.start(whole, 1) == "results/x/pretrain/model"
    assert grid.folder(whole, 2, "vqa") == f"results/x/comparisons/{whole}/2/finetune/vqa"
    assert grid.start(whole, 2) == f"results/x/comparisons/{whole}/2/pretrain/model"
    assert grid.folder("two_stream-data_50", 1, "pretraining") == "results/x/comparisons/two_stream-data_50/1/pretrain"


def test_fine_tunes_of_another_start_are_none_of_the_comparison():
    settings = settings_of()
    imported = settings.finetuning.model_copy(update={"start_from": "imported"})
    grid = comparisons_of(settings.model_copy(update={"finetuning": imported}))
    assert grid.folder("two_stream-data_100", 1, "pretraining") == "results/x/pretrain"
    assert grid.folder("two_stream-data_100", 1, "vqa") == "results/x/comparisons/two_stream-data_100/1/finetune/vqa"


def test_without_pretraining_a_cell_starts_from_what_a_pretraining_would():
    grid = comparisons_of(settings_of())
    assert grid.start("two_stream-data_0", 1) == "results/x/comparisons/two_stream-data_0/1/untrained/model"
    assert "two_stream-data_0" in grid.untrained
    assert "pretraining" not in grid.whats(grid.cells["two_stream-data_0"])


def test_what_makes_a_training_what_it_is_is_that_of_the_run_but_for_what_differs():
    settings = settings_of(depths=[1, 2])
    grid = comparisons_of(settings)
    own = json.loads(settings.made_of_pretraining())
    assert json.loads(grid.made_of_pretraining("two_stream-data_100", 1)) == own
    half = json.loads(grid.made_of_pretraining("two_stream-data_50", 1))
    assert half == own | {"share": 0.5}
    shallow = json.loads(grid.made_of_pretraining("two_stream-data_100-depth_1", 1))
    changed = {"visual_num_layers": 1, "text_co_layers": [2], "visual_co_layers": [0]}
    assert shallow == own | {"model": own["model"] | changed}


@pytest.mark.parametrize("depth", [2, 4, 6, 8])
def test_a_depth_of_the_paper_is_the_configuration_of_its_code(depth):
    """vilbert_beta, config/bert_base_{2,4,6,8}layer_{2,4,6,8}conect.json."""
    model = at_depth(settings_of(BASE).model, depth)
    assert (model.text_num_layers, model.visual_num_layers) == (12, depth)
    assert model.text_co_layers == tuple(range(12 - depth, 12))
    assert model.visual_co_layers == tuple(range(depth))


def test_the_own_depth_is_the_model_as_it_stands_even_where_its_co_attention_is_placed_otherwise():
    settings = settings_of(depths=[1, 2])
    odd = settings.model.model_copy(update={"text_co_layers": (0, 2)})
    grid = comparisons_of(settings.model_copy(update={"model": odd}))
    assert json.loads(grid.model_json("two_stream-data_100"))["text_co_layers"] == [0, 2]
    assert json.loads(grid.model_json("two_stream-data_100-depth_1"))["text_co_layers"] == [2]


def test_a_bert_brings_its_sizes_and_co_attention_stays_at_the_end(tmp_path):
    """As in bert_large_6layer_6conect.json of vilbert_beta."""
    model = with_text_init(settings_of(BASE).model, make_bert(tmp_path), name="bert_large")
    assert (model.text_hidden_size, model.text_num_layers, model.text_num_heads) == (1024, 24, 16)
    assert model.text_intermediate_size == 4096
    assert model.text_co_layers == (18, 19, 20, 21, 22, 23)
    assert model.visual_hidden_size == 1024
    assert model.text_init == str(tmp_path)


def test_a_text_stream_by_name_is_a_cell_with_its_folder_as_input(tmp_path):
    grid = comparisons_of(settings_of(BASE, text_inits={"none": None, "large": make_bert(tmp_path)}, data_shares=[]))
    assert list(grid.tables["text_init"]) == ["none", "large"]
    assert grid.text_init("two_stream-data_100-text_none").input == []
    assert grid.text_init("two_stream-data_100-text_large").path == str(tmp_path)
    assert grid.text_init("two_stream-data_100").path.endswith("hub/text_init")
    assert json.loads(grid.model_json("two_stream-data_100-text_none"))["text_init"] is None


def test_the_whole_grid_is_as_large_as_its_configurations_say():
    vqa = ROOT / "workflow/configs/paper_vqa.yaml"
    paper = comparisons_of(settings_of(BASE, vqa, ROOT / "workflow/configs/paper_grid.yaml", text_inits={}))
    assert len(paper.pretrained) == 7  # two streams at four depths, two more shares, one stream
    assert list(paper.tables["depth"]) == ["depth 2", "depth 4", "depth 6", "depth 8"]
    assert paper.folder("two_stream-data_100", 42, "vqa") == "results/x/finetune/vqa"
    drawn = comparisons_of(settings_of(ROOT / "workflow/configs/drawn_grid.yaml"))
    assert (len(drawn.pretrained), len(drawn.untrained)) == (6, 2)
    assert drawn.tasks() == ["vqa", "vcr", "refcoco", "retrieval"]


def test_the_plan_names_every_training_by_its_folder_and_seed():
    plan = json.loads(comparisons_of(settings_of(seeds=[1, 5])).plan())
    assert plan["own_depth"] == 2
    cell = next(cell for cell in plan["cells"] if cell["label"] == "50 % of the images")
    folder = "results/x/comparisons/two_stream-data_50"
    assert cell["folders"]["vqa"] == {"1": f"{folder}/1/finetune/vqa", "5": f"{folder}/5/finetune/vqa"}


@pytest.mark.parametrize(
    ("comparison", "message"),
    [
        ({"data_shares": [0, 1.5]}, r"comparison\.data_shares\.1: is 1\.5, expected a share from 0"),
        ({"data_shares": [-0.1]}, r"comparison\.data_shares\.0: is -0\.1, expected a share from 0"),
        ({"data_shares": [0.5, 0.5]}, r"comparison\.data_shares: has 0\.5 twice"),
        ({"seeds": [1, 1]}, r"comparison\.seeds: has 1 twice"),
        ({"seeds": []}, r"comparison\.seeds: .* at least 1"),
        ({"depths": [2, 2]}, r"comparison\.depths: has 2 twice"),
        ({"architectures": ["one_stream"]}, r"comparison\.architectures\.0: .*'two_stream' or 'single_stream'"),
        ({"text_inits": {"a": "x", "b": "x"}}, r"comparison\.text_inits: has 'x' as 'a' and as 'b'"),
        ({"text_inits": {"a/b": "x"}}, r"comparison\.text_inits\.a/b"),
        ({"finetunes": ["gqa"]}, r"comparison\.finetunes\.0 is 'gqa', expected one of vqa, vcr"),
    ],
)
def test_a_value_that_compares_nothing_is_refused_in_a_line(comparison, message):
    with pytest.raises(ValueError, match=message) as raised:
        settings_of(**comparison)
    assert len(str(raised.value).splitlines()) == 2


def test_a_depth_beyond_the_text_stream_is_refused():
    with pytest.raises(ValueError, match=r"comparison\.depths has 4, model\.text_num_layers is 3: expected no more"):
        comparisons_of(settings_of(depths=[2, 4]))


def test_a_folder_that_is_not_there_or_holds_no_bert_is_refused(tmp_path):
    settings = settings_of(BASE, text_inits={"mine": str(tmp_path / "gone")})
    with pytest.raises(FileNotFoundError, match=r"comparison\.text_inits\.mine: nothing at .*gone"):
        demand_paths(settings)
    for config in ({"model_type": "roberta"}, {"hidden_size": None}):
        folder = make_bert(tmp_path, **config)
        with pytest.raises(
            ValueError, match=rf"comparison\.text_inits\.mine: no BERT in {tmp_path}, expected a folder"
        ):
            comparisons_of(settings_of(BASE, text_inits={"mine": folder}))
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match="no BERT in"):
        comparisons_of(settings_of(BASE, text_inits={"mine": str(tmp_path)}))


def test_a_bert_of_too_few_layers_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has 5 layers, expected no fewer than co-attention layers, 6"):
        with_text_init(settings_of(BASE).model, make_bert(tmp_path, num_hidden_layers=5), name="small")


def test_tasks_without_files_are_refused_when_they_are_asked_for():
    with pytest.raises(ValueError, match="no task has files to compare trainings by"):
        comparisons_of(settings_of(BASE)).files()
    with pytest.raises(ValueError, match=r"finetuning\.vqa is null: name the task's files there"):
        comparisons_of(settings_of(BASE, finetunes=["vqa"])).files()


def test_a_grid_that_compares_nothing_is_refused_when_it_is_asked_for():
    grid = comparisons_of(settings_of(architectures=["two_stream"], data_shares=[]))
    with pytest.raises(ValueError, match="comparison has less than two trainings to compare"):
        grid.files()


def test_a_constraint_to_no_name_fits_none():
    assert any_of([]) == "-"
    assert any_of(["data_12.5", "x"]) == r"data_12\.5|x"
