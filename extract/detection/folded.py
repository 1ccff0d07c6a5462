"""Convolutions that a frozen norm, a bias and a ReLU follow, as one layer each: faster, and for inference alone.

B images, c channels, h x w cells.
"""

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

    def forward(self, inputs: Tensor, added: Tensor | None = None) -> Tensor:
        """[B, c, h, w] of `inputs`; `added` has the outputs' shape."""
        layer = self.convolution
        if not inputs.is_cuda:
            outputs = layer(inputs)
            return (outputs if added is None else outputs.add_(added)).relu_()
        from extract.detection.kernels import finish_  # Triton, which comes with PyTorch's builds for GPUs

        assert layer.bias is not None
        # PyTorch would add the bias, what is added and the ReLU in passes of their own, the first a slow one.
        outputs = nn.functional.conv2d(inputs, layer.weight, None, layer.stride, layer.padding, layer.dilation)
        return finish_(outputs, layer.bias, added)


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

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = maps if self.shortcut is None else self.shortcut(maps)
        return self.conv3(self.conv2(self.conv1(maps)), shortcut)


def folded_stage(blocks: nn.Module) -> nn.Sequential:
    """The residual blocks of one resolution, each norm part of the convolution before it."""
    return nn.Sequential(*(FoldedBlock(block) for block in blocks.children()))


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
