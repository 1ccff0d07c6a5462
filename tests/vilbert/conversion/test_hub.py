from transformers import AutoTokenizer

from vilbert.batches.tokens import train_tokenizer
from vilbert.conversion.hub import Kind, main


def test_a_fetched_tokenizer_takes_the_place_of_its_name(tmp_path):
    tokenizer = train_tokenizer(["a red circle", "a bar"], vocab_size=61)
    tokenizer.save_pretrained(tmp_path / "published")
    main(Kind.TOKENIZER, tmp_path / "fetched", settings={"tokenizer": str(tmp_path / "published")})
    caption = "a red bar unseen"
    assert AutoTokenizer.from_pretrained(tmp_path / "fetched")(caption)["input_ids"] == tokenizer(caption)["input_ids"]


def test_of_a_bert_its_weights_and_sizes_are_fetched(tmp_path):
    published, fetched = tmp_path / "published", tmp_path / "fetched"
    published.mkdir()
    for name in ("pytorch_model.bin", "config.json", "tf_model.h5"):
        (published / name).write_text(name)
    main(Kind.TEXT_INIT, fetched, settings={"text_init": str(published)})
    assert {path.name: path.read_text() for path in fetched.iterdir()} == {
        name: name for name in ("pytorch_model.bin", "config.json")
    }
