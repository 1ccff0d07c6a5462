"""The network of bottom-up attention, a Faster R-CNN on ResNet-C4, from torchvision's parts.

B images of a batch, P boxes of an image, C classes (background last, as in the weights), A attributes, D feature size.
Source: Anderson et al. 2018 (Caffe), in the form that detectron2 gives it; docs/detector.md has the differences.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck
from torchvision.ops import FrozenBatchNorm2d, nms, roi_pool

from extract.detection.detector import Size
from extract.detection.folded import FoldedBackbone, FoldedStage, extents_of, is_within

STRIDE = 16  # pixels a cell of the feature map
ANCHOR_SIZES = (64, 128, 256, 512)  # pixels, square roots of the areas
ANCHOR_RATIOS = (0.5, 1.0, 2.0)  # height by width
MAX_RANKED = 6000  # anchors of an image, the likeliest, among which proposals are sought
PROPOSAL_IOU = 0.7  # overlap above which the less likely of two proposals goes
NUM_ANCHORS = len(ANCHOR_SIZES) * len(ANCHOR_RATIOS)  # a cell
MOST_GROWTH = math.log(1000 / 16)  # of a side, by a box's shift, as a logarithm
POOL_SIZE = 14  # cells a side that a box is pooled to
BOXES_AT_ONCE = 300  # that are pooled and go through res5; bounds the memory: 0.8 MB a box goes in
BOXES_A_STEP = 50  # on a GPU parts are filled to a multiple of it: for every other size cuDNN chooses anew how to work
_HEADS = "roi_heads.box_predictor"
_RENAMES = (  # of detectron2's names, in this order
    (r"\.conv([123])\.norm\.", r".bn\1."),
    (r"\.shortcut\.norm\.", ".downsample.1."),
    (r"\.shortcut\.", ".downsample.0."),
    (r"^backbone\.stem\.", "backbone."),
    (r"^proposal_generator\.rpn_head\.", "rpn."),
    (r"^roi_heads\.res5\.", "res5."),
    (r"^roi_heads\.box_predictor\.(cls_embedding|fc_attr|attr_score)\.", r"attribute_head.\1."),
    (r"^roi_heads\.box_predictor\.", ""),
)
# Recomputed, not read; the first is a buffer of old checkpoints.
_NOT_READ = (r"anchor_generator\.cell_anchors", r"^pixel_(mean|std)$", r"\.num_batches_tracked$")


class BottomUp(nn.Module):
    """The network; every size is read off the weights."""

    masks = True  # images of several sizes share a batch, and each has what it has alone

    def __init__(self, shapes: Mapping[str, torch.Size], *, num_proposals: int) -> None:
        """Args:
        shapes: of the weights, by detectron2's names.
        """
        super().__init__()
        channels, *_ = _sizes(shapes, "backbone.stem.conv1", 4)
        self.backbone: nn.Module = nn.Sequential()
        self.backbone.add_module("conv1", nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False))
        self.backbone.add_module("bn1", FrozenBatchNorm2d(channels))
        self.backbone.add_module("relu", nn.ReLU(inplace=True))
        self.backbone.add_module("maxpool", nn.MaxPool2d(3, stride=2, padding=0, ceil_mode=True))  # as Caffe pools
        for name, stride in (("res2", 1), ("res3", 2), ("res4", 2)):
            self.backbone.add_module(name, _stage(shapes, f"backbone.{name}", channels, stride=stride))
            channels = 4 * _sizes(shapes, f"backbone.{name}.0.conv1", 4)[0]
        self.res5: nn.Module = _stage(shapes, "roi_heads.res5", channels, stride=1, dilation=2)
        self.feature_size = 4 * _sizes(shapes, "roi_heads.res5.0.conv1", 4)[0]
        self.rpn = ProposalNetwork(shapes, channels, num_proposals=num_proposals)
        num_classes, _ = _sizes(shapes, f"{_HEADS}.cls_score", 2)
        self.cls_score = nn.Linear(self.feature_size, num_classes)
        self.bbox_pred = nn.Linear(self.feature_size, 4 * (num_classes - 1))
        has_attributes = f"{_HEADS}.attr_score.weight" in shapes
        self.attribute_head = AttributeHead(shapes, self.feature_size, num_classes) if has_attributes else None

    @classmethod
    def from_detectron2(cls, weights: Mapping[str, Tensor], *, num_proposals: int) -> "BottomUp":
        """The network with weights under detectron2's names.

        Raises: ValueError if they are of another architecture.
        """
        kept = {name: tensor for name, tensor in weights.items() if not left_out(name)}
        try:
            model = cls({name: tensor.shape for name, tensor in kept.items()}, num_proposals=num_proposals)
            model.load_state_dict({_renamed(name): tensor for name, tensor in kept.items()})
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"no Faster R-CNN on ResNet-C4 with detectron2's names: {error}") from error
        return model.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs

    def fold(self, dtype: torch.dtype) -> None:
        """Make the norms part of the convolutions of the backbone and of res5, and these of type `dtype`."""
        self.backbone = FoldedBackbone(self.backbone).to(dtype)
        self.res5 = FoldedStage(self.res5).to(dtype)

    def propose(self, maps: Tensor, sizes: Sequence[Size]) -> list[Tensor]:
        """Boxes of each image that has a size, [P, 4] in its pixels, the likeliest first; `maps` may be more."""
        return self.rpn(maps[: len(sizes)], sizes)

    def pool(self, maps: Tensor, boxes: list[Tensor]) -> Tensor:
        """Features [all P, D] float32 of the boxes of all images."""
        return pool_in_parts(maps, boxes, roi_pool=pool_boxes, res5=self.res5)

    def regress(self, boxes: Tensor, features: Tensor) -> Tensor:
        """[P, C - 1, 4]: where each class would have the box, not clipped."""
        return moved(boxes[:, None], self.bbox_pred(features).unflatten(1, (-1, 4)), of_centres=10, of_sides=5)


class AttributeHead(nn.Module):
    """Which attribute a box has, given its likeliest class."""

    def __init__(self, shapes: Mapping[str, torch.Size], feature_size: int, num_classes: int) -> None:
        super().__init__()
        _, width = _sizes(shapes, f"{_HEADS}.cls_embedding", 2)
        hidden, _ = _sizes(shapes, f"{_HEADS}.fc_attr", 2)
        num_attributes, _ = _sizes(shapes, f"{_HEADS}.attr_score", 2)
        self.cls_embedding = nn.Embedding(num_classes, width)
        self.fc_attr = nn.Linear(feature_size + width, hidden)
        self.attr_score = nn.Linear(hidden, num_attributes)

    @property
    def num_attributes(self) -> int:
        """Without the last one of the weights, which says that there is none."""
        return self.attr_score.out_features - 1

    def forward(self, features: Tensor, class_logits: Tensor) -> Tensor:
        """Logits [P, A + 1] of features [P, D] and the boxes' classes [P, C]."""
        both = torch.cat([features, self.cls_embedding(class_logits.argmax(dim=1))], dim=1)
        return self.attr_score(self.fc_attr(both).relu())


class ProposalNetwork(nn.Module):
    """Where something may be, by each anchor's objectness and shift. Torchvision's own ranks by the sigmoid, in which
    the objectness of sure boxes is equal, and leaves out boxes narrower than a thousandth of a pixel.
    """

    def __init__(self, shapes: Mapping[str, torch.Size], in_channels: int, *, num_proposals: int) -> None:
        super().__init__()
        hidden, *_ = _sizes(shapes, "proposal_generator.rpn_head.conv", 4)
        self.conv = nn.Conv2d(in_channels, hidden, 3, padding=1)
        self.objectness_logits = nn.Conv2d(hidden, NUM_ANCHORS, 1)
        self.anchor_deltas = nn.Conv2d(hidden, 4 * NUM_ANCHORS, 1)
        self.num_proposals = num_proposals
        widths = [size / ratio**0.5 for size in ANCHOR_SIZES for ratio in ANCHOR_RATIOS]
        heights = [size * ratio**0.5 for size in ANCHOR_SIZES for ratio in ANCHOR_RATIOS]
        self.half_anchors: Tensor
        self.register_buffer("half_anchors", torch.tensor([widths, heights]).T / 2, persistent=False)

    def forward(self, maps: Tensor, sizes: Sequence[Size]) -> list[Tensor]:
        """Boxes of each image, [P, 4], of maps [B, c, h, w] and the images' heights and widths in pixels."""
        return self._chosen(*self.ranked(maps, sizes))

    def ranked(self, maps: Tensor, sizes: Sequence[Size]) -> tuple[Tensor, Tensor, Tensor]:
        """Objectness [B, N], the likeliest first; their boxes [B, N, 4]; which of them may be chosen, [B, N]."""
        hidden = self.conv(maps).relu_()
        logits = self.objectness_logits(hidden).permute(0, 2, 3, 1).flatten(1)
        deltas = self.anchor_deltas(hidden).unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3)
        extents = extents_of(sizes)[-1].to(maps.device, non_blocking=True)
        is_within_image = is_within(extents, maps).flatten(1)[:, :, None].expand(-1, -1, NUM_ANCHORS).flatten(1)
        logits = logits.where(is_within_image, -torch.inf)
        logits, likeliest = logits.topk(min(MAX_RANKED, logits.shape[1]))
        deltas = deltas.gather(1, likeliest[:, :, None].expand(-1, -1, 4))
        anchors = anchors_of(maps, self.half_anchors)[likeliest]
        boxes = moved(anchors, deltas, of_centres=1, of_sides=1)
        corners = torch.tensor([(width, height) * 2 for height, width in sizes], dtype=torch.float32)
        boxes = boxes.clamp(min=0).minimum(corners.to(maps.device, non_blocking=True)[:, None])
        is_candidate = (boxes[:, :, 2:] > boxes[:, :, :2]).all(dim=2) & is_within_image.gather(1, likeliest)
        return logits, boxes, is_candidate

    def _chosen(self, logits: Tensor, boxes: Tensor, is_candidate: Tensor) -> list[Tensor]:
        """The likeliest candidates of each image that do not overlap much; a GPU is waited for once."""
        if boxes.is_cuda:
            from extract.detection import kernels  # Triton, which comes with PyTorch's builds for GPUs

            kept, counts = kernels.nms(boxes, is_candidate, iou=PROPOSAL_IOU, num_kept=self.num_proposals)
            chosen = boxes.gather(1, kept[:, :, None].expand(-1, -1, 4))
            return [of_image[:count] for of_image, count in zip(chosen, counts.tolist(), strict=True)]
        return [
            of_image[is_one][nms(of_image[is_one], likelihoods[is_one], PROPOSAL_IOU)[: self.num_proposals]]
            for of_image, likelihoods, is_one in zip(boxes, logits, is_candidate, strict=True)
        ]


def moved(boxes: Tensor, shifts: Tensor, *, of_centres: float, of_sides: float) -> Tensor:
    """Boxes [..., 4] after shifts [..., 4], of the centre in sides and of the sides as logarithms, both so many times.

    Torchvision's `BoxCoder` gives the same, and waits for the GPU twice, as it makes a number on it.
    """
    sides = boxes[..., 2:] - boxes[..., :2]
    centres = shifts[..., :2] / of_centres * sides + (boxes[..., :2] + 0.5 * sides)
    halves = 0.5 * ((shifts[..., 2:] / of_sides).clamp(max=MOST_GROWTH).exp() * sides)
    return torch.cat([centres - halves, centres + halves], dim=-1)


def anchors_of(maps: Tensor, half: Tensor) -> Tensor:
    """Boxes [all cells' anchors, 4] about the corner of each cell, not rounded, the sizes before the ratios: as
    detectron2 has them with offset 0. `half` their widths and heights, [12, 2] pixels.
    """
    rows, columns = (STRIDE * torch.arange(count, device=maps.device) for count in maps.shape[2:])
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    centres = torch.stack([x, y], dim=2).reshape(-1, 1, 2)
    return torch.cat([centres - half, centres + half], dim=2).reshape(-1, 4)


def pool_in_parts(
    maps: Tensor, boxes: list[Tensor], *, roi_pool: Callable[[Tensor, Tensor], Tensor], res5: nn.Module
) -> Tensor:
    """Features [all P, D] of the boxes [P, 4] of each image, so many boxes at once that they fit the memory."""
    numbered = torch.cat([nn.functional.pad(of_image, (1, 0), value=index) for index, of_image in enumerate(boxes)])
    num_filled = -len(numbered) % BOXES_A_STEP if maps.is_cuda else 0
    parts = nn.functional.pad(numbered, (0, 0, 0, num_filled)).split(BOXES_AT_ONCE)
    features = [res5(roi_pool(maps, part)).mean(dim=(2, 3), dtype=torch.float32) for part in parts]
    return torch.cat(features)[: len(numbered)]


def pool_boxes(maps: Tensor, boxes: Tensor) -> Tensor:
    """[P, c, 14, 14] of boxes [P, 5], the number of the map and x1 y1 x2 y2 in pixels; in the maps' type."""
    if maps.is_cuda:
        from extract.detection import kernels  # Triton, which comes with PyTorch's builds for GPUs

        return kernels.roi_pool(maps, boxes, size=POOL_SIZE, scale=1 / STRIDE)
    # Rounding does not change which value is the greatest, and torchvision knows no bfloat16.
    return roi_pool(maps.float(), boxes, POOL_SIZE, 1 / STRIDE).to(maps.dtype)


def _stage(
    shapes: Mapping[str, torch.Size], name: str, in_channels: int, *, stride: int, dilation: int = 1
) -> nn.Sequential:
    """The residual blocks of one resolution; as in the original ResNet, the first 1x1 has the stride."""
    width, *_ = _sizes(shapes, f"{name}.0.conv1", 4)
    shortcut = nn.Sequential(
        nn.Conv2d(in_channels, 4 * width, 1, stride=stride, bias=False), FrozenBatchNorm2d(4 * width)
    )
    blocks = [Bottleneck(in_channels, width, downsample=shortcut, dilation=dilation, norm_layer=FrozenBatchNorm2d)]
    blocks[0].conv1.stride = (stride, stride)
    while f"{name}.{len(blocks)}.conv1.weight" in shapes:
        blocks.append(Bottleneck(4 * width, width, dilation=dilation, norm_layer=FrozenBatchNorm2d))
    return nn.Sequential(*blocks)


def _sizes(shapes: Mapping[str, torch.Size], layer: str, num_dimensions: int) -> torch.Size:
    """Of the weight of a layer.

    Raises: ValueError if it is not there, or of another kind of layer.
    """
    shape = shapes.get(f"{layer}.weight")
    if shape is None or len(shape) != num_dimensions or not all(shape):
        found = "missing" if shape is None else f"of shape {tuple(shape)}"
        raise ValueError(f"{layer}.weight is {found}, expected {num_dimensions} sizes")
    return shape


def _renamed(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def left_out(name: str) -> bool:
    """Whether a tensor of a detectron2 checkpoint is no weight."""
    return any(re.search(pattern, name) for pattern in _NOT_READ)
