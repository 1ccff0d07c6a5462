"""Torchvision's Faster R-CNN with a small backbone: for the drawn world, and as the pattern for other detectors.

B images, P proposals of an image, C classes (background first), D feature size.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from shlex import quote
from typing import Literal, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, JsonValue, PositiveInt, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.models.detection.transform import resize_boxes
from torchvision.ops import MultiScaleRoIAlign

from extract.detection.detector import Proposals, Size, check_given, multiplying, tf32_of
from extract.tables import whole_file

_METADATA_KEY = "architecture"


class Architecture(BaseModel):
    """All that it takes to build the model; stands in the metadata of the weights file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: tuple[str, ...]  # background first
    shorter_side: PositiveInt  # pixels to which images are resized
    longer_side: PositiveInt  # pixels, at most, after that
    anchor_sizes: tuple[PositiveInt, ...]  # pixels, squares
    channels: tuple[PositiveInt, ...] = (24, 32, 48, 64, 128, 128)  # of the backbone's convolutions
    strides: tuple[PositiveInt, ...] = (2, 1, 2, 1, 2, 1)
    pool_size: PositiveInt = 7  # cells a side that a box is pooled to
    head_channels: PositiveInt = 64
    feature_size: PositiveInt = 256
    num_proposals: PositiveInt = 80
    num_training_regions: PositiveInt = 32  # of an image, to learn from


class TorchvisionDetector:
    """A trained model behind the seam: boxes are the proposals themselves, features what the box head pools there."""

    box_source: Literal["proposal", "regressed", "repooled", "given"] = "proposal"
    attributes: tuple[str, ...] = ()
    pads = False

    def __init__(
        self, model: FasterRCNN, architecture: Architecture, *, sha256: str, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.model = model.to(device).eval()
        # Faster so; the box head stays as it is, for its input comes with the channels first.
        self.model.backbone.to(memory_format=torch.channels_last)
        self.classes = architecture.classes
        self.feature_size = architecture.feature_size
        self.sides = architecture.shorter_side, architecture.longer_side
        self.dtype = dtype
        self.device = device
        self.identity: dict[str, JsonValue] = {
            "backend": "torchvision",
            "sha256": sha256,
            "dtype": str(dtype).removeprefix("torch."),
            "tf32": tf32_of(dtype),
            **architecture.model_dump(mode="json", exclude={"classes", "feature_size"}),
        }

    @classmethod
    def load(cls, path: Path, *, dtype: torch.dtype, device: torch.device) -> Self:
        """Raises: ValueError if the file is damaged or was not written by `save_model`."""
        try:
            with safe_open(path, framework="pt") as file:
                architecture = Architecture.model_validate_json((file.metadata() or {}).get(_METADATA_KEY, "null"))
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (SafetensorError, ValidationError) as error:
            raise ValueError(
                f"{path} holds no torchvision detector ({error}); train one with `snakemake {quote(str(path))}`"
            ) from error
        model = build_model(architecture)
        model.load_state_dict(weights)
        model.eval()
        model.backbone = _folded(model.backbone)
        model.roi_heads.box_head.layers = _folded(model.roi_heads.box_head.layers)
        return cls(
            model, architecture, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), dtype=dtype, device=device
        )

    def sees(self, size: Size) -> bool:
        """Whether a pixel of an image of this size is left, both ways, when torchvision has resized it."""
        shorter, longer = sorted(size)
        return int(shorter * min(self.sides[0] / shorter, self.sides[1] / longer)) >= 1

    def canvas_size(self, size: Size) -> Size:
        """The same: the model resizes on the device."""
        return size

    def resize(self, pixels: np.ndarray) -> np.ndarray:
        """The same pixels: the model resizes on the device."""
        return pixels

    @torch.inference_mode()
    def detect(self, images: Tensor, sizes: Sequence[Size] | None = None) -> list[Proposals]:
        """What is in each of `images`, [B, 3, H, W] uint8 RGB; `sizes` are their own."""
        with multiplying(tf32=tf32_of(self.dtype)):
            batch, maps = self._maps(images)
            boxes, _ = self.model.rpn(batch, maps)
            both = [(resized, (images.shape[2], images.shape[3])) for resized in batch.image_sizes]
            in_pixels = [resize_boxes(of_image, *sizes) for of_image, sizes in zip(boxes, both, strict=True)]
            return self._proposals(maps, boxes, in_pixels, batch.image_sizes)

    @torch.inference_mode()
    def pool(self, images: Tensor, boxes: Sequence[Tensor], sizes: Sequence[Size] | None = None) -> list[Proposals]:
        """What is in the given boxes, [P, 4] in pixels, of each of `images`, [B, 3, H, W] uint8 RGB.

        Raises: ValueError if there are not as many sets of boxes as images.
        """
        check_given(images, boxes)
        with multiplying(tf32=tf32_of(self.dtype)):
            batch, maps = self._maps(images)
            size = (images.shape[2], images.shape[3])
            given = [of_image.to(self.device, torch.float32) for of_image in boxes]
            resized = [resize_boxes(one, size, other) for one, other in zip(given, batch.image_sizes, strict=True)]
            return self._proposals(maps, resized, given, batch.image_sizes)

    def _maps(self, images: Tensor) -> tuple[ImageList, dict[str, Tensor]]:
        """The images as the model sees them, and their feature maps."""
        batch, _ = self.model.transform(list(images.to(self.device).float() / 255))
        with self._autocast():
            maps = self.model.backbone(batch.tensors.contiguous(memory_format=torch.channels_last))
        return batch, {"0": maps.float()}

    def _proposals(
        self,
        maps: dict[str, Tensor],
        boxes: list[Tensor],
        in_pixels: list[Tensor],
        image_sizes: list[Size],
    ) -> list[Proposals]:
        """Features and classes of boxes, which are given in the model's pixels and in the image's."""
        pooled = self.model.roi_heads.box_roi_pool(maps, boxes, image_sizes)
        with self._autocast():
            features = self.model.roi_heads.box_head(pooled)
        class_probs = self.model.roi_heads.box_predictor.cls_score(features.float()).softmax(dim=1)
        counts = [len(of_image) for of_image in boxes]
        return [
            Proposals(boxes=of_image, class_probs=probs, features=pooled_features)
            for of_image, probs, pooled_features in zip(
                in_pixels, class_probs.split(counts), features.split(counts), strict=True
            )
        ]

    def _autocast(self) -> AbstractContextManager:
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, self.dtype)


class BoxHead(nn.Module):
    """Pooled boxes [P, c, s, s] -> features [P, D]: a convolution, and a linear layer over all of its cells.

    Not over their mean, which forgets where in the box something is: that a square fills its corners.
    """

    def __init__(self, in_channels: int, *, pool_size: int, hidden: int, out_channels: int) -> None:
        super().__init__()
        num_cells = ((pool_size + 1) // 2) ** 2
        self.layers = nn.Sequential(
            *_convolution(in_channels, hidden, stride=2),
            nn.Flatten(),
            nn.Linear(hidden * num_cells, out_channels, bias=False),
            nn.BatchNorm1d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, pooled: Tensor) -> Tensor:
        return self.layers(pooled)


def build_model(architecture: Architecture) -> FasterRCNN:
    """The model with random weights, drawn from torch's generator."""
    channels = (3, *architecture.channels)
    layers = [
        layer
        for previous, width, stride in zip(channels, channels[1:], architecture.strides, strict=False)
        for layer in _convolution(previous, width, stride=stride)
    ]
    backbone = nn.Sequential(*layers)
    backbone.out_channels = channels[-1]  # type: ignore[assignment]  # where FasterRCNN looks for it
    return FasterRCNN(
        backbone,
        min_size=architecture.shorter_side,
        max_size=architecture.longer_side,
        rpn_anchor_generator=AnchorGenerator(sizes=(architecture.anchor_sizes,), aspect_ratios=((1.0,),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], output_size=architecture.pool_size, sampling_ratio=1),
        box_head=BoxHead(
            channels[-1],
            pool_size=architecture.pool_size,
            hidden=architecture.head_channels,
            out_channels=architecture.feature_size,
        ),
        box_predictor=FastRCNNPredictor(architecture.feature_size, len(architecture.classes)),
        rpn_pre_nms_top_n_train=300,
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_train=architecture.num_proposals,
        rpn_post_nms_top_n_test=architecture.num_proposals,
        rpn_batch_size_per_image=64,
        box_batch_size_per_image=architecture.num_training_regions,
        box_positive_fraction=0.5,
    )


def save_model(model: FasterRCNN, architecture: Architecture, path: Path) -> None:
    """Weights and architecture in one safetensors file that `TorchvisionDetector.load` reads.

    Raises: OSError where the disk is full.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with whole_file(path) as partial:
        try:
            save_file(weights, partial, metadata={_METADATA_KEY: json.dumps(architecture.model_dump(mode="json"))})
        except SafetensorError as error:
            raise OSError(f"{path} could not be written: {error}; make room and start again") from error


def _convolution(in_channels: int, out_channels: int, *, size: int = 3, stride: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, size, stride, padding=size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    ]


def _folded(layers: nn.Sequential) -> nn.Sequential:
    """The same function in fewer passes over the memory: batch norms become part of the layers before them."""
    folded: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            convolution = folded.pop()
            assert isinstance(convolution, nn.Conv2d)
            folded.append(nn.utils.fuse_conv_bn_eval(convolution, layer))
        elif isinstance(layer, nn.BatchNorm1d):
            linear = folded.pop()
            assert isinstance(linear, nn.Linear)
            folded.append(nn.utils.fuse_linear_bn_eval(linear, layer))
        else:
            folded.append(layer)
    return nn.Sequential(*folded)
