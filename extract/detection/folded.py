"""Convolutions that a frozen norm, a bias and a ReLU follow, as one layer each: faster, and for inference alone.

B images, c channels, h x w cells. Images of several sizes share a batch, each at the upper left of its place: what is
beyond it is made 0 after each layer, as the next one would find it if the image were alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck


class FoldedConvolution(nn.Module):
    """relu(norm(convolution) + what is added), the norm being part of the convolution."""

    def __init__(self, convolution: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        assert isinstance(convolution, nn.Conv2d)
        fold(convolution, norm)
        self.convolution = convolution

    def forward(self, inputs: Tensor, added: Tensor | None = None, extents: Tensor | None = None) -> Tensor:
        """[B, c, h, w] of `inputs`.

        Args:
            added: of the outputs' shape.
            extents: [B, 2] int32, height and width of what counts in each output; null: all of it.
        """
        layer = self.convolution
        if not inputs.is_cuda:
            outputs = layer(inputs)
            outputs = (outputs if added is None else outputs.add_(added)).relu_()
            return outputs if extents is None else outputs.masked_fill_(~is_within(extents, outputs), 0)
        from extract.detection.kernels import finish_  # Triton, which comes with PyTorch's builds for GPUs

        assert layer.bias is not None
        # PyTorch would add the bias, what is added and the ReLU in passes of their own, the first a slow one.
        outputs = nn.functional.conv2d(inputs, layer.weight, None, layer.stride, layer.padding, layer.dilation)
        return finish_(outputs, layer.bias, added, extents)


class FoldedBlock(nn.Module):
    """A residual block of three convolutions. The bias of its shortcut is part of the last one's."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        assert isinstance(block, Bottleneck)
        self.conv1 = FoldedConvolution(block.conv1, block.bn1)
        self.conv2 = FoldedConvolution(block.conv2, block.bn2)
        self.conv3 = FoldedConvolution(block.conv3, block.bn3)
        self.shortcut: nn.Conv2d | None = None
        if block.downsample is not None:
            self.shortcut, norm = block.downsample
            fold(self.shortcut, norm)
            last = self.conv3.convolution
            assert last.bias is not None
            assert self.shortcut.bias is not None
            last.bias += self.shortcut.bias
            self.shortcut.bias = None

    def forward(self, maps: Tensor, extents: Tensor | None = None) -> Tensor:
        shortcut = maps if self.shortcut is None else self.shortcut(maps)
        hidden = self.conv2(self.conv1(maps, extents=extents), extents=extents)
        return self.conv3(hidden, shortcut, extents)


class FoldedStage(nn.Module):
    """The residual blocks of one resolution, each norm part of the convolution before it."""

    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(FoldedBlock(block) for block in stage.children())

    def forward(self, maps: Tensor, extents: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            maps = block(maps, extents)
        return maps


class FoldedBackbone(nn.Module):
    """A ResNet from the stem to res4."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        convolution, norm, _, self.max_pool, *stages = backbone.children()
        self.stem = FoldedConvolution(convolution, norm)
        self.stages = nn.ModuleList(FoldedStage(stage) for stage in stages)

    def forward(self, images: Tensor, sizes: Sequence[tuple[int, int]] | None = None) -> Tensor:
        """[B, c, h, w] of images [B, 3, H, W].

        Args:
            sizes: height and width of each image, beyond which it is 0 and the map will be; null: of all, H and W.
        """
        extents: Sequence[Tensor | None] = [None] * (1 + len(self.stages))
        if sizes is not None:
            extents = torch.stack(extents_of(sizes)).to(images.device, non_blocking=True).unbind()
        # The pooling may fill a row and a column beyond an image; res2 begins with 1 x 1 cells, and drops them.
        maps = self.max_pool(self.stem(images, extents=extents[0]))
        for stage, extent in zip(self.stages, extents[1:], strict=True):
            maps = stage(maps, extent)
        return maps


def extents_of(sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """[B, 2] int32 each: what the stem, res2, res3 and res4 make of images of these heights and widths alone."""
    stem = (torch.tensor(sizes, dtype=torch.int32).view(-1, 2) + 1) // 2
    res2 = stem // 2
    res3 = (res2 + 1) // 2
    return [stem, res2, res3, (res3 + 1) // 2]


def is_within(extents: Tensor, maps: Tensor) -> Tensor:
    """[B, 1, h, w] bool: the cells of maps [B, c, h, w] that count, by their heights and widths [B, 2]."""
    height, width = extents[:, :, None, None].unbind(1)
    rows, columns = (torch.arange(count, device=maps.device) for count in maps.shape[2:])
    return ((rows[:, None] < height) & (columns < width))[:, None]


@torch.no_grad()
def fold(convolution: nn.Conv2d, norm: nn.Module) -> None:
    """Make a frozen norm part of the convolution before it, in float64, rounded once."""
    mean, variance, scale, shift = (
        getattr(norm, name).double() for name in ("running_mean", "running_var", "weight", "bias")
    )
    scale = scale / (variance + norm.eps).sqrt()
    weight = convolution.weight * scale[:, None, None, None]
    convolution.weight = nn.Parameter(weight.float(), requires_grad=False)
    convolution.bias = nn.Parameter((shift - mean * scale).float(), requires_grad=False)
