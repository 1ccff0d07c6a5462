"""Five captions an image in the format of Karpathy's dataset_*.json."""

import re
from collections.abc import Sequence

from extract.drawn.scene import Scene
from extract.drawn.sentences import make_captions
from extract.drawn.task_images import SPLITS, TaskImage

CAPTIONS_PER_IMAGE = 5
NUM_OTHERS = 149


def make_karpathy(images: Sequence[TaskImage]) -> dict:
    """Images with their sentences; raw sentences as people wrote them, tokens in lower case without punctuation.

    As a rule a caption could be said of none of the next NUM_OTHERS images of its split: among as many, all can be
    found.
    """
    entries = []
    splits: dict[str, list[Scene]] = {
        split: [image.scene for image in images if image.split == split] for split in SPLITS
    }
    for number, image in enumerate(images):
        scenes = splits[image.split]
        place = scenes.index(image.scene)
        others = (scenes[place + 1 :] + scenes[:place])[:NUM_OTHERS]
        rng = image.rng("karpathy")
        captions = make_captions(image.scene, rng, count=CAPTIONS_PER_IMAGE, others=[image.twin, *others])
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
