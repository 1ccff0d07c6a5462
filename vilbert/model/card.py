"""The README.md of a model directory, as model hubs show it."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from transformers import PreTrainedModel

from extract.terminal import cell

CARD = """---
library_name: transformers
tags: [vilbert, vision-and-language]
---

# {title}

{architecture}, {num_parameters:,} parameters.

## How to use it

Where `folder` is this one:

{usage}

## Data

It has learnt of {data}. Its regions were found by the detector of the sha256 `{detector}`, whose classes stand in
`classes.json`. `provenance.json` has the sha256 of every input.

## Measures

On what was held out:

{table}

chance: an even draw; of alignment, always the commoner label. blind: from the text alone; no_text: from the
image alone, both counted on the training split.
rule: the detector's classes against the words, nothing learnt. ceiling: the best that can be reached. num_examples were
measured; num_dropped of them have no features and count as wrong.

## Limits

- Features of another detector, or of another selection of regions, mean nothing to it, and nothing tells so.
- {limit}
- A text has at most {max_tokens} tokens; words that its data lack are pieces to it, in other languages noise.
- The measures hold for data like the held-out ones, by one seed. Where its data are skewed, it is: nobody has looked at
  how it treats groups of people, and it should decide nothing about a person.

## Settings

```yaml
{settings}```
"""
ASK = """```python
import vilbert

ask = vilbert.pipeline(folder)  # finds the regions by the detector that it has learnt of, by its sha256
model = vilbert.{architecture}.from_pretrained(folder)  # takes regions
```"""
INDEX = """```sh
vilbert index folder pictures my_index  # finds the regions by the detector that it has learnt of, by its sha256
vilbert search my_index "a text"
```"""
CHOOSE = """```python
import vilbert

processor = vilbert.VilbertProcessor.from_pretrained(folder)
model = vilbert.{architecture}.from_pretrained(folder)  # takes regions, and the texts to choose from
```"""
USAGES = {"VilbertDualEncoder": INDEX, "MultipleChoice": CHOOSE}  # by what the name of the class ends with
SETTINGS = ("model", "pretraining", "finetuning", "search")  # of a provenance
LIMITS = {  # by what the name of the class ends with
    "PreTraining": "It has no head for a task: it scores captions, and fills in what is masked.",
    "QuestionAnswering": "It knows the {num_labels} answers of `config.json` alone, and gives one to every question.",
    "MultipleChoice": "It prefers one of the given texts, whether or not any is true.",
    "RegionGrounding": "It points at one of the found regions, also where what is meant is not in the picture.",
    "ImageTextRetrieval": "Its scores put images in order for a text; they are no probabilities.",
    "VilbertDualEncoder": "It sees a text and an image apart: who stands where among many things is lost to it.",
    "Classification": "It knows the {num_labels} labels of `config.json` alone.",
}


def model_card(
    title: str, model: PreTrainedModel, rows: Sequence[Mapping[str, Any]], *, data: str, made_of: Mapping[str, Any]
) -> str:
    """Markdown with front matter.

    Args:
        rows: of measures and what they are read against, alike in their columns; at least one.
        data: how many examples of what it has learnt of.
        made_of: the model's provenance; the card shows the settings among it.
    """
    kind, config = type(model).__name__.rpartition("For")[2], model.config
    settings = {name: made_of[name] for name in SETTINGS if name in made_of}
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([cell(row[name]) for name in head] for row in rows)]
    return CARD.format(
        title=title,
        architecture=type(model).__name__,
        usage=USAGES.get(kind, ASK).format(architecture=type(model).__name__),
        num_parameters=model.num_parameters(),
        data=data,
        detector=(made_of.get("regions") or {}).get("detector") or "unknown",
        limit=LIMITS[kind].format(num_labels=config.num_labels),
        max_tokens=config.max_position_embeddings,
        settings=yaml.safe_dump(settings, sort_keys=True),
        table="\n".join(f"| {' | '.join(line)} |" for line in lines),
    )
