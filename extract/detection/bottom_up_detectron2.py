"""The network of bottom-up attention as detectron2 builds it; runs without detectron2's compiled extension."""

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from extract.detection.bottom_up import (
    ANCHOR_RATIOS,
    ANCHOR_SIZES,
    MAX_RANKED,
    PROPOSAL_IOU,
    BottomUp,
    left_out,
    pool_in_parts,
)
from extract.detection.detector import Size
from extract.detection.folded import fold

try:
    from detectron2.config import CfgNode, get_cfg
    from detectron2.layers import Conv2d, FrozenBatchNorm2d
    from detectron2.modeling import build_model
    from detectron2.structures import ImageList
except ImportError as error:
    raise ImportError(
        f"detector.backend is 'detectron2', which cannot be imported ({error}); create the environment "
        "envs/detectron2.yaml, or set detector.backend to 'torchvision', which gives the same numbers"
    ) from error


class Detectron2Network:
    """Stock detectron2 with Caffe's stem pooling and a dilated res5 of stride 1."""

    masks = False

    def __init__(self, weights: Mapping[str, Tensor], *, num_proposals: int) -> None:
        """Raises: ValueError if the weights are of another architecture."""
        ours = BottomUp.from_detectron2(weights, num_proposals=num_proposals)  # names what does not fit
        self.attribute_head = ours.attribute_head  # detectron2 has none
        self.model = build_model(_config(weights, num_proposals=num_proposals)).eval()
        self.model.backbone.stem = _CaffeStem(self.model.backbone.stem)
        for block in self.model.roi_heads.res5:
            block.conv2.dilation = block.conv2.padding = (2, 2)
            for convolution in (block.conv1, block.conv2, *([block.shortcut] if block.shortcut else [])):
                convolution.stride = (1, 1)
        tensors = {name: tensor for name, tensor in weights.items() if not left_out(name) and not _is_attribute(name)}
        missing, unexpected = self.model.load_state_dict(tensors, strict=False)
        if missing := [name for name in missing if not left_out(name)] + unexpected:
            raise ValueError(f"no Faster R-CNN on ResNet-C4 with detectron2's names: {missing[:3]}")
        self.model.to(memory_format=torch.channels_last)
        self.backbone: nn.Module = nn.Sequential(self.model.backbone, _Res4())
        self.cls_score = self.model.roi_heads.box_predictor.cls_score
        self.feature_size = self.cls_score.in_features

    def to(self, device: torch.device) -> Self:
        self.model.to(device)
        if self.attribute_head is not None:
            self.attribute_head.to(device)
        return self

    def fold(self, dtype: torch.dtype) -> None:
        for layer in self.model.modules():
            if isinstance(layer, Conv2d) and isinstance(layer.norm, FrozenBatchNorm2d):
                fold(layer, layer.norm)
                layer.norm = None
        self.backbone.to(dtype)
        self.model.roi_heads.res5.to(dtype)

    def propose(self, maps: Tensor, sizes: Sequence[Size]) -> list[Tensor]:
        images = ImageList(maps, list(sizes))
        proposals, _ = self.model.proposal_generator(images, {"res4": maps})
        return [of_image.proposal_boxes.tensor for of_image in proposals]

    def pool(self, maps: Tensor, boxes: list[Tensor]) -> Tensor:
        (pooler,) = self.model.roi_heads.pooler.level_poolers
        return pool_in_parts(
            maps,
            boxes,
            roi_pool=lambda maps, boxes: pooler(maps.float(), boxes).to(maps.dtype),
            res5=self.model.roi_heads.res5,
        )

    def regress(self, boxes: Tensor, features: Tensor) -> Tensor:
        predictor = self.model.roi_heads.box_predictor
        deltas = predictor.bbox_pred(features)
        return predictor.box2box_transform.apply_deltas(deltas, boxes).unflatten(1, (-1, 4))


class _CaffeStem(nn.Module):
    """Pools without padding and rounds up, where detectron2 pads."""

    def __init__(self, stem: nn.Module) -> None:
        super().__init__()
        assert isinstance(stem.conv1, nn.Module)
        self.conv1 = stem.conv1

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.max_pool2d(self.conv1(images).relu(), 3, stride=2, ceil_mode=True)


class _Res4(nn.Module):
    def forward(self, maps: dict[str, Tensor]) -> Tensor:
        return maps["res4"]


def _config(weights: Mapping[str, Tensor], *, num_proposals: int) -> CfgNode:
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    depth = {6: 50, 23: 101, 36: 152}.get(
        sum(name.startswith("backbone.res4.") and name.endswith(".conv1.weight") for name in shapes)
    )
    if depth is None:
        raise ValueError("a ResNet of no depth that detectron2 builds, expected 50, 101 or 152 layers")
    config = get_cfg()
    config.MODEL.DEVICE = "cpu"
    config.MODEL.RESNETS.DEPTH = depth
    config.MODEL.RESNETS.STEM_OUT_CHANNELS = shapes["backbone.stem.conv1.weight"][0]
    config.MODEL.RESNETS.WIDTH_PER_GROUP = shapes["backbone.res2.0.conv1.weight"][0]
    config.MODEL.RESNETS.RES2_OUT_CHANNELS = shapes["backbone.res2.0.conv3.weight"][0]
    config.MODEL.ANCHOR_GENERATOR.SIZES = [list(ANCHOR_SIZES)]
    config.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS = [list(ANCHOR_RATIOS)]
    config.MODEL.RPN.CONV_DIMS = [shapes["proposal_generator.rpn_head.conv.weight"][0]]
    config.MODEL.RPN.PRE_NMS_TOPK_TEST = MAX_RANKED
    config.MODEL.RPN.NMS_THRESH = PROPOSAL_IOU
    config.MODEL.RPN.POST_NMS_TOPK_TEST = num_proposals
    config.MODEL.ROI_HEADS.NUM_CLASSES = shapes["roi_heads.box_predictor.cls_score.weight"][0] - 1
    config.MODEL.ROI_BOX_HEAD.POOLER_TYPE = "ROIPool"
    config.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = 14
    return config


def _is_attribute(name: str) -> bool:
    return any(part in name for part in ("cls_embedding", "fc_attr", "attr_score"))
