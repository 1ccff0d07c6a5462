"""Pictures and texts in, answers out: `vilbert.pipeline("results/drawn/finetune/vqa/model")`.

Dimension key:
    B: pictures   T: tokens   R: regions (the first is the whole image)   N: regions without it   D: width
    L: co-attention layers   H: heads   K: labels
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel

from extract.devices import best_device
from extract.finder import FoundRegions, Picture, RegionFinder, name_of
from extract.regions.store import Regions
from extract.settings import DetectorSettings
from vilbert.looking import CoAttention
from vilbert.model import modeling_single_stream, modeling_tasks, modeling_vilbert
from vilbert.model.detector import detector_of
from vilbert.model.device_memory import enough_memory
from vilbert.model.directory import demand_model, read_processor
from vilbert.model.modeling_tasks import LIKELY, MULTI_LABEL
from vilbert.model.processing_vilbert import VilbertProcessor, demand_pixels, demand_regions
from vilbert.retrieval.scoring import EncodedImage, score_pairs

NUM_ANSWERS = 3
REMEDY = "ask the model on the CPU, device 'cpu'"  # where a GPU's memory is too small
AT_ONCE = 64  # images that a GPU is asked about
AT_ONCE_ON_CPU = 1  # which gains nothing by more

HEADS = {  # what a model can be asked for, by the heads of which it has one
    "answer": ("answer_head",),
    "point": ("grounding_head",),
    "classify": ("label_head",),
    "score": ("score_head", "alignment_head"),
    "fill": ("token_head",),
}

Row = dict[str, Any]  # `image`, which it is of, and what was asked for, or `reason` and `detail`
Asked = Picture | Regions | FoundRegions


class Pipeline:
    """A trained model, and the detector whose regions it has learnt of.

    Every question takes one picture or a list of them: paths, bytes, PIL images, arrays [H, W, 3], `Regions` of one's
    own features, or what `find` gave. It gives a row for each picture, in their order; of one that cannot be read, a
    row with the reason.
    """

    def __init__(
        self, model: PreTrainedModel, processor: VilbertProcessor, make_finder: Callable[[], RegionFinder]
    ) -> None:
        """Args:
        make_finder: called when there is a picture without regions.
        """
        self.model, self.processor = model.eval(), processor
        self._make_finder = make_finder
        self._finder: RegionFinder | None = None

    @property
    def abilities(self) -> list[str]:
        """What the model can be asked for, by the names of the methods below."""
        by_head = [name for name, heads in HEADS.items() if any(hasattr(self.model, head) for head in heads)]
        do_streams_meet = bool(getattr(self.model.config, "text_co_layers", True))
        return [*by_head, "embed", *(["attention"] if do_streams_meet else [])]

    def __call__(self, pictures: Asked | Sequence[Asked], text: str | None = None) -> list[Row]:
        """What the model was trained for: answers, labels, a box, or a score."""
        if "answer" in self.abilities:
            return self.answer(pictures, demand_text(text))
        if "classify" in self.abilities:
            return self.classify(pictures, text)
        if "point" in self.abilities:
            return self.point(pictures, demand_text(text))
        return self.score(pictures, demand_text(text))

    def find(self, pictures: Asked | Sequence[Asked]) -> list[FoundRegions]:
        """The regions of pictures, for as many questions as there are.

        Raises: FileNotFoundError if the detector's weights are not where they are looked for.
        """
        given: list[Any] = [pictures] if is_one(pictures) else list(pictures)  # type: ignore[arg-type]
        found: dict[int, FoundRegions] = {}
        for place, one in enumerate(given):
            if isinstance(one, FoundRegions):
                found[place] = one
            elif isinstance(one, Regions):
                demand_regions(one, place)
                self._demand_width(one, place)
                found[place] = FoundRegions(f"image {place}", one, None)
        if unknown := [place for place in range(len(given)) if place not in found]:
            self._finder = self._finder or self._make_finder()
            newly = self._finder.find([given[place] for place in unknown])
            for place, one in zip(unknown, newly, strict=True):
                found[place] = one._replace(name=name_of(given[place], place))
        return [found[place] for place in range(len(given))]

    def answer(self, pictures: Asked | Sequence[Asked], question: str, *, num_answers: int = NUM_ANSWERS) -> list[Row]:
        """`answers`, the likeliest first, each with its `probability`."""
        self._demand("answer", "answers no questions")

        def describe(_: Regions, logits: Tensor) -> Row:
            return {"answers": self._likeliest(logits.sigmoid(), num_answers, name="answer")}

        return self._ask(pictures, question, describe)

    def classify(self, pictures: Asked | Sequence[Asked], text: str | None = None) -> list[Row]:
        """`labels` that are given, and `probabilities` of all, the likeliest first."""
        self._demand("classify", "gives no labels")
        may_be_several = self.model.config.problem_type == MULTI_LABEL

        def describe(_: Regions, logits: Tensor) -> Row:
            probabilities = logits.sigmoid() if may_be_several else logits.softmax(-1)
            rows = self._likeliest(probabilities, len(probabilities), name="label")
            num_given = int((probabilities >= LIKELY).sum()) if may_be_several else 1
            return {
                "labels": [row["label"] for row in rows[:num_given]],
                "probabilities": {row["label"]: row["probability"] for row in rows},
            }

        return self._ask(pictures, text or "", describe)

    def point(self, pictures: Asked | Sequence[Asked], expression: str) -> list[Row]:
        """The `box` that is meant, x1 y1 x2 y2 in pixels, and its `score`."""
        self._demand("point", "points at nothing")

        def describe(regions: Regions, logits: Tensor) -> Row:
            first = int(self.processor.has_whole_image)
            of_regions = logits[first : first + len(regions)]
            best = int(of_regions.argmax())
            box = [round(float(value), 1) for value in regions.boxes[best]]
            return {"box": box, "score": round(float(of_regions[best].sigmoid()), 4)}

        return self._ask(pictures, expression, describe)

    def score(self, pictures: Asked | Sequence[Asked], caption: str) -> list[Row]:
        """The `score` of a caption, which grows with how well it fits."""
        self._demand("score", "scores no captions")
        found = self.find(pictures)
        images = [one.regions for one in found if one.regions is not None]
        encoded = [EncodedImage.of(regions, has_whole_image=self.processor.has_whole_image) for regions in images]
        ids = self.processor.encode_text([demand_text(caption)])["input_ids"][0]
        with enough_memory(REMEDY):
            scores = iter(score_pairs(self.model, [ids], encoded)[0].tolist() if encoded else [])
        return [row_of(one, lambda _: {"score": round(next(scores), 4)}) for one in found]

    @torch.inference_mode()
    def fill(self, pictures: Asked | Sequence[Asked], text: str, *, num_words: int = NUM_ANSWERS) -> list[Row]:
        """For each [MASK] of the text, in order, the likeliest words with their `probability`: `masks`."""
        self._demand("fill", "fills no [MASK]")
        text, tokenizer = demand_text(text), self.processor.tokenizer
        if tokenizer.mask_token is None or tokenizer.mask_token not in text:
            raise ValueError(f"'{text}' has no {tokenizer.mask_token}, expected one where a word is to stand")

        def fill_in(regions: Regions) -> Row:
            inputs = self.processor([text], [regions]).to(self.model.device)
            places = (inputs["input_ids"][0] == tokenizer.mask_token_id).nonzero()[:, 0]
            logits = self.model(**inputs).token_logits[0, places, : len(tokenizer)]  # a model may have room for more
            probabilities = logits.float().softmax(-1).cpu()
            best = probabilities.topk(min(num_words, probabilities.shape[1]))
            return {
                "masks": [
                    [
                        {"word": tokenizer.convert_ids_to_tokens(int(word)), "probability": round(float(value), 4)}
                        for value, word in zip(*of_mask, strict=True)
                    ]
                    for of_mask in zip(best.values, best.indices, strict=True)
                ]
            }

        return [row_of(one, fill_in) for one in self.find(pictures)]

    @torch.inference_mode()
    def embed(self, pictures: Asked | Sequence[Asked], text: str) -> list[Row]:
        """What the streams end with, of a text beside each picture: `text_embedding`, `image_embedding` and
        `pair_embedding`, float32 [D] each."""

        def vectors(regions: Regions) -> Row:
            inputs = self.processor([demand_text(text)], [regions]).to(self.model.device)
            output = self.model.base_model(**inputs)
            pair = self.model.base_model.fuse(output)
            parts = {"text": output.pooled_text, "image": output.pooled_visual, "pair": pair}
            return {f"{name}_embedding": part[0].float().cpu().numpy() for name, part in parts.items()}

        return [row_of(one, vectors) for one in self.find(pictures)]

    @torch.inference_mode()
    def attention(self, picture: Asked, text: str) -> CoAttention:
        """Which regions of one picture each token of a text looks at.

        Raises: ValueError for a picture that cannot be read, with the reason, or for several.
        """
        found = self.find(picture)
        if len(found) != 1:
            raise ValueError(f"got {len(found)} pictures, expected one")
        regions = regions_of(found[0])
        inputs = self.processor([demand_text(text)], [regions]).to(self.model.device)
        maps = self.model.base_model(**inputs, output_attentions=True).attentions.text_to_visual
        if not maps:
            raise ValueError(f"the streams of this {type(self.model).__name__} never meet: there is no co-attention")
        return CoAttention(
            tokens=self.processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0].tolist()),
            weights=torch.stack([one[0] for one in maps]).float().cpu().numpy(),
            regions=regions,
            image=found[0].image,
            has_whole_image=self.processor.has_whole_image,
        )

    @torch.inference_mode()
    def _ask(
        self, pictures: Asked | Sequence[Asked], text: str, describe: Callable[[Regions, Tensor], Row]
    ) -> list[Row]:
        found = self.find(pictures)
        known = [one.regions for one in found if one.regions is not None]
        at_once = AT_ONCE_ON_CPU if self.model.device.type == "cpu" else AT_ONCE
        logits: list[Tensor] = []
        for start in range(0, len(known), at_once):
            part = known[start : start + at_once]
            with enough_memory(REMEDY):
                encoded = self.processor.encode_text([text] * len(part)) | self.processor.encode_regions(part)
                inputs = {name: tensor.to(self.model.device) for name, tensor in encoded.items()}
                logits += self.model(**inputs).logits.float().cpu()
        of_picture = iter(logits)
        return [row_of(one, lambda regions: describe(regions, next(of_picture))) for one in found]

    def _likeliest(self, probabilities: Tensor, count: int, *, name: str) -> list[Row]:
        names: Any = self.model.config.id2label
        best = probabilities.topk(min(count, len(probabilities)))
        return [
            {name: names[int(index)], "probability": round(float(value), 4)}
            for value, index in zip(best.values, best.indices, strict=True)
        ]

    def _demand_width(self, regions: Regions, place: int) -> None:
        expected, width = self.model.config.visual_feature_size, regions.features.shape[1]
        if width != expected:
            raise ValueError(f"the features of image {place} are {width} wide, expected {expected}, as the model's are")

    def _demand(self, ability: str, what: str) -> None:
        if ability not in self.abilities:
            raise ValueError(f"a {type(self.model).__name__} {what}")


def pipeline(
    model: str | Path,
    *,
    detector: str | Path | None = None,
    detector_settings: DetectorSettings | None = None,
    device: str | torch.device | None = None,
) -> Pipeline:
    """The pipeline of a model directory.

    Args:
        detector: weights of the detector that the model has learnt of; None: those of its run, or of `weights/`, that
            have the digest which the directory names.
        detector_settings: of a detector whose settings the directory does not have.
        device: of model and detector; None: a GPU where there is one.
    Raises: FileNotFoundError for what is no model directory; ValueError for one without a head.
    """
    path = Path(model)
    network, processor = load(path)
    place = best_device() if device is None else torch.device(device)

    def make_finder() -> RegionFinder:
        given = None if detector is None else Path(detector)
        return finder_of(path, detector=given, detector_settings=detector_settings, device=place)

    network.to(place)  # type: ignore[arg-type]  # as transformers types it
    return Pipeline(network, processor, make_finder)


def finder_of(
    model: Path, *, detector: Path | None, detector_settings: DetectorSettings | None = None, device: torch.device
) -> RegionFinder:
    """What finds the regions that a model has learnt of; the arguments are those of `pipeline`."""
    found = detector_of(model, given=detector, settings=detector_settings)
    return RegionFinder(found.weights, settings=found.settings, selection=found.selection, device=device)


def load(path: Path) -> tuple[PreTrainedModel, VilbertProcessor]:
    """A model directory by the class that it was saved from.

    Raises: FileNotFoundError for what is none; ValueError for a model that answers no text about one image.
    """
    demand_model(path)
    config = AutoConfig.from_pretrained(path)
    name = (config.architectures or ["none"])[0]
    for module in (modeling_tasks, modeling_single_stream, modeling_vilbert):
        if (kind := getattr(module, name, None)) is not None and "For" in name and "MultipleChoice" not in name:
            return kind.from_pretrained(path).eval(), read_processor(path)
    raise ValueError(
        f"{path} holds a {name}, expected one that is asked about one image, such as VilbertForQuestionAnswering"
    )


def own_regions(features: np.ndarray, boxes: np.ndarray, image_size: tuple[int, int]) -> Regions:
    """Regions of features that one has as arrays.

    Args:
        features: [N, D].
        boxes: [N, 4] x1 y1 x2 y2, pixels.
        image_size: width, height, pixels.
    Raises: ValueError for shapes and values that do not fit.
    """
    if np.shape(image_size) != (2,):
        raise ValueError(f"image_size is {image_size!r}, expected width and height in pixels")
    try:
        features, boxes = np.asarray(features, np.float64), np.asarray(boxes, np.float32)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor that learns is the last
        raise ValueError(f"features or boxes are no arrays, expected [N, D] and [N, 4]: {error}") from error
    if features.ndim != 2 or boxes.shape != (len(features), 4) or not len(features):
        raise ValueError(
            f"features are {features.shape} and boxes {boxes.shape}, expected [N, D] and [N, 4], at least one"
        )
    are_numbers = np.abs(features) <= np.finfo(np.float16).max  # no NaN is
    if not are_numbers.all() or not np.isfinite(boxes).all():
        raise ValueError("features or boxes hold values that are no numbers of float16")
    demand_pixels(boxes, image_size)
    return Regions(
        boxes=boxes,
        scores=np.full(len(boxes), np.nan, np.float32),
        features=features.astype(np.float16),
        class_probs=np.empty((len(boxes), 0), np.float16),
        image_size=image_size,
        num_confident=0,
        is_short=False,
    )


def row_of(found: FoundRegions, describe: Callable[[Regions], Row]) -> Row:
    """What is said of a picture, or why nothing is."""
    if found.regions is None:
        assert found.objection is not None
        return {"image": found.name} | found.objection._asdict()
    return {"image": found.name} | describe(found.regions)


def is_one(pictures: Any) -> bool:
    """Whether this is one picture and no list of them."""
    return isinstance(pictures, FoundRegions) or not isinstance(pictures, list | tuple)


def regions_of(found: FoundRegions) -> Regions:
    """Raises: ValueError for a picture that cannot be read, with the reason."""
    if found.regions is None:
        assert found.objection is not None
        raise ValueError(f"{found.name} cannot be looked at: {': '.join(found.objection)}")
    return found.regions


def demand_text(text: str | None) -> str:
    """Raises: ValueError for a text that says nothing."""
    if text is not None and not isinstance(text, str):
        raise ValueError(f"the text is of type {type(text).__name__}, expected one string")
    if text is None or not text.strip():
        raise ValueError("the text is empty, expected a question, a caption or an expression")
    return text
