"""The README.md of a model directory, as model hubs show it."""

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedModel

from extract.terminal import cell

CARD = """---
library_name: transformers
tags: [vilbert, vision-and-language]
---

# {title}

{architecture}, {num_parameters:,} parameters. Where `folder` is this one:

```python
import vilbert

ask = vilbert.pipeline(folder)  # finds the regions by the detector that it has learnt of, by its sha256
model = vilbert.{architecture}.from_pretrained(folder)  # takes regions
```

`provenance.json` names the settings and the sha256 of every input, `classes.json` the classes of the detector whose
features it reads. Features of another detector, or of another selection of regions, mean nothing to it.

Measured on what was held out:

{table}

chance: an even draw; of alignment, always the commoner label. blind: from the text alone; no_text: from the
image alone, both counted on the training split.
rule: the detector's classes against the words, nothing learnt. ceiling: the best that can be reached. num_examples were
measured; num_dropped of them have no features and count as wrong.
"""


def model_card(title: str, model: PreTrainedModel, rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown with front matter.

    Args:
        rows: of measures and what they are read against, alike in their columns; at least one.
    """
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([cell(row[name]) for name in head] for row in rows)]
    return CARD.format(
        title=title,
        architecture=type(model).__name__,
        num_parameters=model.num_parameters(),
        table="\n".join(f"| {' | '.join(line)} |" for line in lines),
    )
