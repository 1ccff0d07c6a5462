"""Five captions an image in the format of Karpathy's dataset_*.json."""

import re
from collections.abc import Sequence

from extract.drawn.sentences import make_captions
from extract.drawn.task_images import TaskImage

CAPTIONS_PER_IMAGE = 5


def make_karpathy(images: Sequence[TaskImage]) -> dict:
    """Images with their sentences; raw sentences as people wrote them, tokens in lower case without punctuation."""
    entries = []
    for number, image in enumerate(images):
        captions = make_captions(image.scene, image.rng("karpathy"), count=CAPTIONS_PER_IMAGE)
        sent_ids = list(range(number * CAPTIONS_PER_IMAGE, (number + 1) * CAPTIONS_PER_IMAGE))
        entries.append(
            {
                "filepath": image.split,
                "filename": image.file_name,
                "imgid": number,
                "cocoid": image.image_id,
                "split": image.split,
                "sentids": sent_ids,
                "sentences": [
                    {
                        "tokens": re.findall(r"\w+", caption),
                        "raw": caption.capitalize().replace(" ,", ",").removesuffix(" .") + ".",
                        "imgid": number,
                        "sentid": sent_id,
                    }
                    for sent_id, caption in zip(sent_ids, captions, strict=True)
                ],
            }
        )
    return {"images": entries, "dataset": "drawn"}
