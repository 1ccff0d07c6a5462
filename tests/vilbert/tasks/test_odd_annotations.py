"""Annotations in which anything may stand: each is a row with a reason, or the file is refused in a line with its name.

What the readers take goes on to the tokenizer and to the predictions' files, where a stranger ended a training late.
"""

import json
import pickle

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vilbert.batches.sampling import Draw
from vilbert.tasks.reading import apart, encode_texts, write_dropped
from vilbert.tasks.refcoco import read_expressions
from vilbert.tasks.retrieval import read_captions
from vilbert.tasks.vcr import VcrDataset, read_vcr
from vilbert.tasks.vqa import VqaDataset, answer_list, numbered, read_answer_list, read_questions

FUZZ = settings(
    deadline=None,
    max_examples=60,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),  # files are written anew; a busy machine is slow
)
TEXTS = st.text(max_size=9) | st.sampled_from(["\ud83d", "\0", "\u2028", " ", "7", "$x$", "x" * 600, "../a.jpg"])
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -1, 0.0, 2.0, 1e308])
ODD = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
ODD_BYTES = [b"[" * 10**5, b"\xef\xbb\xbf{}", b"\xff\xfe{\0}\0", b"1" * 9_999]
QUESTION = {"question_id": 1, "image_id": 1, "question": "Why ?"}
ANNOTATION = {"question_id": 1, "multiple_choice_answer": "yes", "answers": [{"answer": "yes"}, {"answer": "no"}]}
IMAGE = {"filename": "a.jpg", "imgid": 1, "split": "val", "sentences": [{"sentid": 1, "raw": "a dog"}]}
REF = {"ref_id": 1, "ann_id": 1, "image_id": 1, "split": "val", "sentences": [{"sent_id": 0, "sent": "left dog"}]}
CHOICES = [[[0], "is"], [[1], "is"], [[0], "a"], [[1], "a"]]
VCR = {
    "annot_id": "val-1",
    "img_fn": "000000000001.jpg",
    "objects": ["person", "dog"],
    "question": ["Why", "is", [0, 1], "?"],
    "answer_choices": CHOICES,
    "rationale_choices": CHOICES,
    "answer_label": 1,
    "rationale_label": 2,
}


def places_in(value) -> list[tuple]:
    """Paths to every value in a row, the row itself left out."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for name, one in inner for path in ((name,), *((name, *rest) for rest in places_in(one)))]


def replaced(value, path: tuple, new):
    """A copy with another value at one place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def odd(row: dict):
    """Rows of which one value is odd."""
    return st.builds(replaced, st.just(row), st.sampled_from(places_in(row)), ODD)


def check(read, path, *, num_whole: int, folder) -> list:
    """Reads a file in which at least so many rows are whole; gives the examples, or none of a file that is refused."""
    refusal = None
    try:
        examples, dropped = read()
    except ValueError as error:
        examples, dropped, refusal = [], [], str(error)
    if refusal is not None:
        assert str(path) in refusal
        assert "\n" not in refusal
        return []
    assert len(examples) >= num_whole
    assert all(row.reason and len(str(row)) < 1_000 for row in dropped)
    write_dropped(folder / "dropped.csv", dropped)
    return examples


@FUZZ
@given(row=odd(QUESTION))
def test_any_value_in_a_question(drawn, tmp_path, row):
    path = tmp_path / "questions.json"
    path.write_text(json.dumps({"questions": [{**QUESTION, "question_id": 5}, row]}))
    questions = check(
        lambda: read_questions(path, None, image_key="{image_id:012d}"), path, num_whole=1, folder=tmp_path
    )
    kept = [one for one in questions if one.image_key in drawn.detected]
    data = VqaDataset(kept, drawn.detected, drawn.processor, answers=["yes", "no"], max_tokens=17)
    data.__getitems__([Draw(0, example) for example in range(len(data))])
    json.dumps([numbered(one.annotation) for one in questions]).encode()


@FUZZ
@given(row=odd(ANNOTATION))
def test_any_value_in_the_answers(tmp_path, row):
    questions, path = tmp_path / "questions.json", tmp_path / "annotations.json"
    questions.write_text(json.dumps({"questions": [QUESTION, {**QUESTION, "question_id": 5}]}))
    path.write_text(json.dumps({"annotations": [{**ANNOTATION, "question_id": 5}, row]}))
    found = check(lambda: read_questions(questions, path, image_key="{image_id}"), path, num_whole=1, folder=tmp_path)
    assert all(isinstance(answer, str) for one in found for answer in one.answers)
    check(lambda: (answer_list([path], min_count=1), []), path, num_whole=1, folder=tmp_path)


@FUZZ
@given(content=ODD)
def test_anything_as_a_list_of_answers(tmp_path, content):
    (tmp_path / "list.json").write_text(json.dumps(content))
    check(lambda: (read_answer_list(tmp_path / "list.json"), []), tmp_path / "list.json", num_whole=1, folder=tmp_path)


@FUZZ
@given(row=odd(VCR), has_labels=st.booleans())
def test_any_value_in_a_question_of_vcr(drawn, tmp_path, row, has_labels):
    path = tmp_path / "val.jsonl"
    path.write_text(json.dumps({**VCR, "annot_id": "val-5"}) + "\n" + json.dumps(row) + "\n")
    questions = check(lambda: read_vcr(path, seed=1, has_labels=has_labels), path, num_whole=1, folder=tmp_path)
    kept = [one for one in questions if one.image_key in drawn.detected]
    data = VcrDataset(kept, drawn.detected, drawn.processor, given=None, max_tokens=29)
    if has_labels:
        data.__getitems__([Draw(0, example) for example in range(len(data))])


@FUZZ
@given(row=odd(IMAGE))
def test_any_value_in_a_caption(drawn, tmp_path, row):
    path = tmp_path / "dataset.json"
    other = {**IMAGE, "imgid": 5, "sentences": [{"sentid": 5, "raw": "a cat"}]}
    path.write_text(json.dumps({"images": [other, row]}))
    captions = check(lambda: read_captions(path), path, num_whole=1, folder=tmp_path)
    encode_texts(drawn.processor.tokenizer, [one.text for one in captions], max_tokens=17)
    apart(captions, drawn.detected)


@FUZZ
@given(row=odd(REF))
def test_any_value_in_a_ref(drawn, tmp_path, row):
    refs, instances = tmp_path / "refs.p", tmp_path / "instances.json"
    refs.write_bytes(pickle.dumps([{**REF, "ref_id": 5}, row], protocol=2))
    boxes = [{"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4]}]
    instances.write_text(json.dumps({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": boxes}))
    expressions = check(lambda: read_expressions(refs, instances), refs, num_whole=1, folder=tmp_path)
    encode_texts(drawn.processor.tokenizer, [one.text for one in expressions], max_tokens=17)


@FUZZ
@given(value=ODD, field=st.sampled_from(["id", "image_id", "bbox", "file_name", "width"]))
@example(value="\ud83d", field="bbox")
@example(value="\ud83d", field="image_id")
def test_any_value_in_the_instances_of_refs(tmp_path, value, field):
    refs, path = tmp_path / "refs.p", tmp_path / "instances.json"
    refs.write_bytes(pickle.dumps([REF], protocol=2))
    box, image = {"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4]}, {"id": 1, "file_name": "a.jpg"}
    odd_box, odd_image = ({**row, field: value} for row in (box, image))
    path.write_text(json.dumps({"images": [odd_image], "annotations": [odd_box]}))
    check(lambda: read_expressions(refs, path), path, num_whole=0, folder=tmp_path)


@FUZZ
@given(content=ODD | st.dictionaries(st.sampled_from(["questions", "annotations", "images"]), ODD, max_size=3))
def test_any_json(tmp_path, content):
    path = tmp_path / "any.json"
    path.write_text(json.dumps(content))
    for read in (
        lambda: read_questions(path, path, image_key="{image_id}"),
        lambda: read_captions(path),
        lambda: read_vcr(path, seed=1),
    ):
        check(read, path, num_whole=0, folder=tmp_path)


@FUZZ
@given(
    content=st.binary(max_size=99) | st.sampled_from([b"[" * 10**5, b"\xef\xbb\xbf{}", b"\xff\xfe{\0}\0", b"1" * 9_999])
)
def test_any_bytes(tmp_path, content):
    path = tmp_path / "any.json"
    path.write_bytes(content)
    for read in (lambda: read_captions(path), lambda: read_vcr(path, seed=1), lambda: (read_answer_list(path), [])):
        check(read, path, num_whole=0, folder=tmp_path)
