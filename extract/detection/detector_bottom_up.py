"""Bottom-up attention behind the seam: any weights of its family, the network from torchvision or detectron2.

B images of a batch, P boxes of an image, C classes (background first), D feature size.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, Self

import numpy as np
import torch
from PIL import Image
from pydantic import JsonValue
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from extract.detection.bottom_up import AttributeHead, BottomUp
from extract.detection.detector import Proposals, Size, check_given, multiplying, tf32_of
from extract.detection.folded import is_within
from extract.detection.restricted_pickle import DAMAGE, load_pickle
from extract.settings import BottomUpSettings, DetectorSettings

PIXEL_MEAN = (102.9801, 115.9465, 122.7717)  # blue, green, red: the order of the channels
MIN_SIDE = 16  # pixels after resizing, so that the feature map has a cell
# Pixels of which the shorter and the longer side of a batch on a GPU are multiples, as each new shape costs it 0.2 s.
CANVAS_STEPS = (32, 64)  # the shorter one is nearly always of one length


class Network(Protocol):
    """The parts of the Faster R-CNN, convolutions channels last; boxes are in pixels of the resized images."""

    backbone: nn.Module  # its maps are of the type that `fold` was given; if it masks, told the sizes of images
    masks: bool
    cls_score: nn.Linear  # background last
    attribute_head: AttributeHead | None
    feature_size: int

    def to(self, device: torch.device) -> Self: ...

    def fold(self, dtype: torch.dtype) -> None: ...

    def propose(self, maps: Tensor, sizes: Sequence[Size]) -> list[Tensor]: ...  # of float32

    def pool(self, maps: Tensor, boxes: list[Tensor]) -> Tensor: ...  # float32

    def regress(self, boxes: Tensor, features: Tensor) -> Tensor: ...


class BottomUpDetector:
    """A detector of the family, ready to run."""

    def __init__(
        self,
        network: Network,
        settings: BottomUpSettings,
        *,
        classes: tuple[str, ...],
        attributes: tuple[str, ...],
        identity: dict[str, JsonValue],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.network = network.to(device)
        self.settings = settings
        self.box_source: Literal["proposal", "regressed", "repooled", "given"] = settings.box_source
        self.feature_size = network.feature_size
        self.classes = classes
        self.attributes = attributes
        self.device = device
        self.identity = identity
        self.dtype = dtype
        self.pads = network.masks and device.type == "cuda"  # a CPU has nothing to gain from it
        self.pixel_mean = torch.tensor(PIXEL_MEAN, device=device)

    @classmethod
    def load(cls, path: Path, *, settings: DetectorSettings, device: torch.device) -> Self:
        """Raises: ValueError if the file is damaged, has another sha256 or is of another architecture, or names of
        classes do not fit it; OSError if these cannot be read; ImportError if detectron2 is asked for and not there.
        """
        assert settings.bottom_up is not None
        weights, sha256 = read_weights(path, sha256=settings.bottom_up.sha256)
        try:
            network = _network(settings.backend, weights, num_proposals=settings.bottom_up.num_proposals)
        except ValueError as error:
            raise ValueError(f"{path} holds {error}") from error
        dtype = getattr(torch, settings.dtype)
        network.fold(dtype)
        identity: dict[str, JsonValue] = {
            "backend": settings.backend,
            "sha256": sha256,
            "dtype": settings.dtype,
            "tf32": tf32_of(dtype),
            **settings.bottom_up.model_dump(mode="json", exclude={"url", "sha256", "class_names", "attribute_names"}),
        }
        names = settings.bottom_up
        classes = ("background", *read_names(names.class_names, count=len(network.cls_score.weight) - 1))
        head = network.attribute_head
        attributes = () if head is None else read_names(names.attribute_names, count=head.num_attributes)
        return cls(
            network,
            settings.bottom_up,
            classes=classes,
            attributes=attributes,
            identity=identity,
            dtype=dtype,
            device=device,
        )

    def sees(self, size: Size) -> bool:
        """Always: however thin an image is, it is resized to as many pixels as the feature map needs for a cell."""
        return True

    def canvas_size(self, size: Size) -> Size:
        """That at which the model looks at an image of this size, on a GPU rounded up to few."""
        height, width = resized_size(*size, settings=self.settings)
        if not self.pads:
            return height, width
        of_height, of_width = sorted(CANVAS_STEPS, reverse=height > width)
        return -(-height // of_height) * of_height, -(-width // of_width) * of_width

    def resize(self, pixels: np.ndarray) -> np.ndarray:
        """An image [H, W, 3] uint8 RGB at that size."""
        height, width = resized_size(*pixels.shape[:2], settings=self.settings)
        return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))

    @torch.inference_mode()
    def detect(self, images: Tensor, sizes: Sequence[Size] | None = None) -> list[Proposals]:
        """What is in each of `images`, [B, 3, H, W] uint8 RGB; `sizes` are those before they were resized.

        There may be fewer sizes than places for images; smaller images lie at the upper left of theirs.
        """
        with multiplying(tf32=tf32_of(self.dtype)):
            return self._detect(*self._resized(images, sizes))

    @torch.inference_mode()
    def pool(self, images: Tensor, boxes: Sequence[Tensor], sizes: Sequence[Size] | None = None) -> list[Proposals]:
        """What is in the given boxes, [P, 4] in pixels, of each of `images`, [B, 3, H, W] uint8 RGB.

        Raises: ValueError if there are not as many sets of boxes as images.
        """
        check_given(images if sizes is None else sizes, boxes)
        with multiplying(tf32=tf32_of(self.dtype)):
            return self._pool(*self._resized(images, sizes), boxes)

    def _resized(self, images: Tensor, sizes: Sequence[Size] | None) -> tuple[Tensor, Sequence[Size]]:
        """Images at the size at which the model looks at them, and the sizes that they had."""
        if sizes is not None:
            return images, sizes
        arrays = [self.resize(array) for array in images.permute(0, 2, 3, 1).cpu().numpy()]
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2), [(images.shape[2], images.shape[3])] * len(
            images
        )

    def _detect(self, images: Tensor, sizes: Sequence[Size]) -> list[Proposals]:
        resized = [resized_size(*size, settings=self.settings) for size in sizes]
        maps = self._maps(images, resized)
        boxes = self.network.propose(maps.float(), resized)
        features, logits = self._read(maps, boxes)
        if self.box_source != "proposal":
            boxes = [
                self._regressed(*of_image)
                for of_image in zip(boxes, _parts(features, boxes), _parts(logits, boxes), resized, strict=True)
            ]
        if self.box_source == "repooled":
            features, logits = self._read(maps, boxes)
        in_pixels = [rescaled(*of_image) for of_image in zip(boxes, resized, sizes, strict=True)]
        return self._proposals(in_pixels, features, logits)

    def _pool(self, images: Tensor, sizes: Sequence[Size], boxes: Sequence[Tensor]) -> list[Proposals]:
        given = [one.to(self.device, torch.float32, non_blocking=True) for one in boxes]
        resized = [resized_size(*size, settings=self.settings) for size in sizes]
        in_resized = [rescaled(*of_image) for of_image in zip(given, sizes, resized, strict=True)]
        return self._proposals(given, *self._read(self._maps(images, resized), in_resized))

    def _maps(self, images: Tensor, sizes: Sequence[Size]) -> Tensor:
        """The feature maps [B, c, h, w] of resized images, 0 beyond the size of each."""
        pixels = images.to(self.device, non_blocking=True).flip(1).permute(0, 2, 3, 1)  # blue first
        inputs = (pixels.float() - self.pixel_mean).permute(0, 3, 1, 2)
        whole = [(images.shape[2], images.shape[3])] * len(images)
        if list(sizes) == whole:
            return self.network.backbone(inputs.to(self.dtype, memory_format=torch.channels_last))
        assert self.network.masks
        padded = [*sizes, *[(0, 0)] * (len(images) - len(sizes))]
        extents = torch.tensor(padded, dtype=torch.int32).to(self.device, non_blocking=True)
        inputs = inputs.where(is_within(extents, inputs), 0)
        return self.network.backbone(inputs.to(self.dtype, memory_format=torch.channels_last), padded)

    def _read(self, maps: Tensor, boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Features [all P, D] and logits [all P, C], background last."""
        features = self.network.pool(maps, boxes)
        return features, self.network.cls_score(features)

    def _regressed(self, boxes: Tensor, features: Tensor, logits: Tensor, size: Size) -> Tensor:
        """The boxes where the likeliest class would have them, within the image."""
        likeliest = logits[:, :-1].argmax(dim=1)
        per_class = self.network.regress(boxes, features)
        return clip_boxes_to_image(per_class[torch.arange(len(boxes), device=boxes.device), likeliest], size)

    def _proposals(self, boxes: list[Tensor], features: Tensor, logits: Tensor) -> list[Proposals]:
        class_probs = logits.softmax(dim=1).roll(1, dims=1)  # the background comes first
        attribute_probs: Sequence[Tensor | None] = [None] * len(boxes)
        if (head := self.network.attribute_head) is not None:
            attribute_probs = _parts(head(features, logits).softmax(dim=1)[:, :-1], boxes)  # without "none"
        parts = zip(boxes, _parts(class_probs, boxes), _parts(features, boxes), attribute_probs, strict=True)
        return [
            Proposals(boxes=of_image, class_probs=probs, features=pooled, attribute_probs=attributes)
            for of_image, probs, pooled, attributes in parts
        ]


def rescaled(boxes: Tensor, before: Size, after: Size) -> Tensor:
    """Boxes [P, 4] of an image that was resized. Torchvision's `resize_boxes` gives the same and waits for the GPU."""
    y, x = (float(np.float32(new) / np.float32(old)) for old, new in zip(before, after, strict=True))
    return torch.stack([side * ratio for side, ratio in zip(boxes.unbind(1), (x, y, x, y), strict=True)], dim=1)


def resized_size(height: int, width: int, *, settings: BottomUpSettings) -> Size:
    """Height and width with the shorter side as asked for, unless the longer one would be too long."""
    scale = settings.shorter_side / min(height, width)
    scale = min(scale, settings.longer_side / max(height, width))
    return max(int(height * scale + 0.5), MIN_SIDE), max(int(width * scale + 0.5), MIN_SIDE)


def read_weights(path: Path, *, sha256: str | None) -> tuple[dict[str, Tensor], str]:
    """Tensors by detectron2's names, and the digest of the file.

    Raises: ValueError if the digest is not `sha256`, or the file is no .pkl or .pth of tensors.
    """
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if sha256 is not None and digest != sha256:
        raise ValueError(f"{path} has the sha256 {digest}, expected {sha256}; delete it to fetch it again")
    if path.suffix == ".pkl":
        content = load_pickle(data, source=str(path))
    elif path.suffix == ".pth":
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except DAMAGE as error:
            raise ValueError(f"{path} is damaged or holds more than tensors") from error
    else:
        raise ValueError(f"{path} is of no known kind, expected .pkl or .pth")
    arrays = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(arrays, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected tensors by name")
    return {str(name): _tensor(array, source=f"{path}: {name}") for name, array in arrays.items()}, digest


def read_names(path: str | None, *, count: int) -> tuple[str, ...]:
    """Of classes or attributes. Weights name none; without a file they are called what no caption says.

    Raises: OSError; ValueError if there are not `count` names.
    """
    if path is None:
        return tuple(f"unnamed {number}" for number in range(1, count + 1))
    names = tuple(line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    if len(names) != count or not all(names):
        raise ValueError(
            f"{path} has {len(names)} lines, {names.count('')} of them empty, expected the {count} names of the "
            "weights, one a line, without the background"
        )
    return names


def _tensor(array: object, *, source: str) -> Tensor:
    if not isinstance(array, np.ndarray | Tensor):
        raise ValueError(f"{source} is a {type(array).__name__}, expected an array of numbers")
    try:
        return torch.as_tensor(array)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source} is an array of {array.dtype}, expected numbers: {error}") from error


def _network(backend: str, weights: dict[str, Tensor], *, num_proposals: int) -> Network:
    if backend == "detectron2":
        from extract.detection.bottom_up_detectron2 import Detectron2Network  # not everyone has detectron2

        return Detectron2Network(weights, num_proposals=num_proposals)
    return BottomUp.from_detectron2(weights, num_proposals=num_proposals)


def _parts(rows: Tensor, boxes: list[Tensor]) -> tuple[Tensor, ...]:
    return rows.split([len(of_image) for of_image in boxes])
