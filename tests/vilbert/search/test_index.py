import json

import numpy as np
import pytest
from typer.testing import CliRunner

from extract.hold import Hold
from vilbert.cli import app
from vilbert.model.directory import WEIGHTS, sha256_of
from vilbert.search.embed import embed_images, load_encoder, read_embeddings
from vilbert.search.embed import main as embed
from vilbert.search.folder import main as index_folder
from vilbert.search.index import ImageIndex, Source, make_vectors, write_index
from vilbert.search.index import main as build_index
from vilbert.search.searcher import Searcher

VECTORS = np.array([[1.0, 0], [0.6, 0.8], [0, 1]], np.float32)


def made(folder, *, kind="Flat", vectors=VECTORS):
    keys = [f"image-{place}" for place in range(len(vectors))]
    write_index(folder, [(keys, vectors)], [Source()], model=folder / "model", sha256="0", kind=kind)
    return ImageIndex(folder)


def test_the_best_images_stand_first_with_their_cosines(tmp_path):
    (found,) = made(tmp_path / "index").search(np.array([[0.0, 1]]), k=2)
    assert [(one.key, one.score) for one in found] == [("image-2", 1.0), ("image-1", pytest.approx(0.8))]


@pytest.mark.parametrize("k", [0, 4])
def test_k_is_at_most_the_size_of_the_index(tmp_path, k):
    with pytest.raises(ValueError, match=f"k is {k}, expected 1 to 3, the images of"):
        made(tmp_path / "index").search(np.array([[0.0, 1]]), k=k)


def test_another_kind_of_index_is_a_word_of_faiss(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    (found,) = made(tmp_path / "index", kind="IVF4,Flat", vectors=vectors).search(vectors[7:8], k=1)
    assert found[0].key == "image-7"
    with pytest.raises(ValueError, match="the kind of index is 'Nothing', which faiss refuses for 3 images"):
        make_vectors(VECTORS, kind="Nothing")


@pytest.mark.parametrize("kind", ["IVF16,Flat", "IVF16(HNSW8),Flat", "HNSW8", "PCA4,HNSW8"])
def test_kinds_that_look_at_few_images_look_at_enough(tmp_path, kind):
    """Texts lie elsewhere than images, where the nearest list of an inverted file has few of the best."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(700, 8)).astype(np.float32) + 1
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = -vectors[:31]
    index, flat = made(tmp_path / "index", kind=kind, vectors=vectors), made(tmp_path / "flat", vectors=vectors)
    assert [len(found) for found in index.search(queries, k=400)] == [400] * 31
    pairs = zip(index.search(queries, k=10), flat.search(queries, k=10), strict=True)
    if not kind.startswith("PCA"):  # which turns the vectors into others
        shared = [len({one.key for one in mine} & {one.key for one in best}) for mine, best in pairs]
        assert np.mean(shared) > 7


@pytest.mark.parametrize("note", ["{}", "[]", '{"model": 3, "sha256": "0"}'])
def test_an_index_that_does_not_say_of_which_model_it_is_is_damaged(tmp_path, note):
    made(tmp_path / "index")
    (tmp_path / "index/index.json").write_text(note)
    with pytest.raises(ValueError, match="does not say of which model it is; make the index anew"):
        ImageIndex(tmp_path / "index")


def test_a_build_that_is_killed_between_two_indices_loses_neither(tmp_path):
    """The old one was moved aside, and the new one not yet in its place."""
    made(tmp_path / "index", vectors=VECTORS[:2])
    (tmp_path / "index").rename(tmp_path / ".index.before")
    with pytest.raises(ValueError, match="which faiss refuses"):
        made(tmp_path / "index", kind="Nothing")
    assert len(ImageIndex(tmp_path / "index")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_what_is_no_index_and_a_damaged_one_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is no index: it holds no index\.json; `vilbert index MODEL PICTURES"):
        ImageIndex(tmp_path)
    made(tmp_path / "index")
    (tmp_path / "index/images.faiss").write_bytes(b"IxFI")
    with pytest.raises(ValueError, match="is damaged"):
        ImageIndex(tmp_path / "index")


@pytest.mark.parametrize("name", ["holiday.jpg", "index.json", "images.faiss"])
def test_what_is_there_and_is_no_index_is_never_removed(tmp_path, name):
    mine = tmp_path / "pictures"
    mine.mkdir()
    (mine / name).write_bytes(b"mine")
    (mine / "b.jpg").write_bytes(b"mine")
    for output in (mine, mine / "b.jpg"):
        with pytest.raises(FileExistsError, match="is there and is no index; name a folder that is not there"):
            made(output)
    assert sorted(path.name for path in mine.iterdir()) == sorted(["b.jpg", name])


def test_an_index_replaces_another_whole_and_two_builds_at_once_are_refused(tmp_path):
    made(tmp_path / "index")
    assert len(made(tmp_path / "index", vectors=VECTORS[:2])) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    held = Hold(tmp_path / ".index.partial")
    with pytest.raises(ValueError, match="another process is writing to"):
        made(tmp_path / "index")
    held.let_go()
    assert len(ImageIndex(tmp_path / "index")) == 2


@pytest.fixture(scope="module")
def index(search_world, dual_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("indexed")
    parts = [folder / f"{store.stem}.npz" for store in search_world.world.stores]
    for store, part in zip(search_world.world.stores, parts, strict=True):
        embed(dual_encoder, store, part)
    build_index(dual_encoder, folder / "index", parts, stores=search_world.world.stores)
    return folder / "index"


def test_shards_are_embedded_one_by_one_and_put_together(search_world, dual_encoder, index):
    encoder, processor = load_encoder(dual_encoder)
    store = search_world.store
    found = ImageIndex(index).search(embed_images(encoder, [store["val-00000003"]], processor), k=1)
    assert found[0][0].key == "val-00000003"
    assert found[0][0].store == str(search_world.world.stores[1])
    assert len(ImageIndex(index)) == len(store) == 42


def test_embeddings_and_an_index_of_another_model_are_refused(search_world, dual_encoder, index, tmp_path):
    with pytest.raises(ValueError, match="holds embeddings of the model"):
        read_embeddings(index.parent / "val.npz", model="0" * 64)
    ImageIndex(index).demand_model(dual_encoder)
    other = search_world.distil(tmp_path, seed=4, optimizer={"num_epochs": 1})
    assert sha256_of(other / WEIGHTS) != sha256_of(dual_encoder / WEIGHTS)
    with pytest.raises(ValueError, match="make the index anew with this model"):
        ImageIndex(index).demand_model(other)


def said(*arguments):
    """What the command prints; raises what it raises."""
    done = CliRunner().invoke(app, [*map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def test_a_text_is_searched_and_the_best_are_put_in_order_anew(search_world, index):
    rows = json.loads(said("search", index, "a red circle", "--k", 5))
    assert len(rows) == 5
    assert [row["similarity"] for row in rows] == sorted((row["similarity"] for row in rows), reverse=True)
    again = json.loads(said("search", index, "a red circle", "--k", 5, "--rerank", 3))
    assert {row["image"] for row in again[:3]} == {row["image"] for row in rows[:3]}
    assert all("score" in row for row in again[:3])
    assert again[3:] == rows[3:]


def test_what_was_found_is_drawn_with_a_reason_where_there_is_no_picture(index, tmp_path):
    said("search", index, "a red circle", "--output", tmp_path / "found.png")
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")


def test_a_small_index_gives_all_that_it_has(tmp_path, search_world, dual_encoder):
    index_folder(dual_encoder, search_world.world.stores[1], tmp_path / "index")
    rows = json.loads(said("search", tmp_path / "index", "a red circle", "--rerank", 16))
    assert len(rows) == 10
    rows = Searcher(tmp_path / "index").by_text("a red circle", k=11, rerank=16)
    assert all("score" in row for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([" "], "the text is empty"),
        ([], "expected a text or --image, got neither"),
        (["a circle", "--image", "a.jpg"], "expected a text or --image, got both"),
        (["--image", "a.jpg", "--rerank", "4"], "--rerank is for a text"),
        (["a circle", "--k", "43"], "k is 43, expected 1 to 42"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_line(index, arguments, message):
    with pytest.raises(ValueError, match=message):
        said("search", index, *arguments)
