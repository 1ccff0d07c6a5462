"""Regions on a GPU: the detector of bottom-up attention alone, and the whole stage on photographs of mixed sizes.

Random weights of the published size, ResNet-101 with 1600 classes, that propose 300 boxes an image. `python -m
benchmarks.gpu_regions` prints in less than two minutes on an H100; `--quick` sees on any machine that it runs.
"""

import io
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from extract.detection.bottom_up import BOXES_AT_ONCE, POOL_SIZE, BottomUp
from extract.detection.detector import best_device
from extract.detection.detector_bottom_up import BottomUpDetector
from extract.detection.folded import FoldedBlock
from extract.regions.extract import extract_regions
from extract.settings import BottomUpSettings, DetectorSettings, SelectionSettings

sys.path.append(str(Path(__file__).parent.parent / "tests/extract"))
import bottom_up_weights  # type: ignore[import-not-found]  # it lies among the tests

SELECTION = SelectionSettings(threshold=0.2, min_regions=10, max_regions=36, nms_iou=0.3)
DTYPES = ("float16", "bfloat16", "float32")
NUM_KERNELS = 12  # that the profile names
SPREAD = 0.3  # of the shifts of anchors, by which random weights propose as many boxes as trained ones

Say = Callable[..., None]


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    stem: int
    width: int  # of the first residual blocks
    num_blocks: tuple[int, int, int, int]
    num_classes: int
    num_attributes: int
    sides: tuple[int, int]  # pixels, shorter and longer, to which images are resized
    num_proposals: int
    num_photographs: int
    num_sizes: int  # of photographs
    num_threads: int
    num_turns: int


WHOLE = Sizes(64, 64, (3, 4, 23, 3), 1600, 400, (600, 1000), 300, 312, 50, 12, 6)
QUICK = Sizes(5, 2, (3, 4, 6, 3), 11, 7, (160, 240), 60, 13, 5, 3, 1)


def measure(say: Say, sizes: Sizes = WHOLE) -> None:
    """Say what the detector and the stage make in a second, how far the halves are off, and where the time goes."""
    device = best_device()
    say("regions:", torch.cuda.get_device_name() if device.type == "cuda" else "no GPU", "torch", torch.__version__)
    with TemporaryDirectory() as folder:
        weights = save_weights(Path(folder) / "weights.pkl", sizes)
        few = draw_photographs(Path(folder) / "few.tar", sizes, number=sizes.num_photographs // 13)
        photographs = draw_photographs(Path(folder) / "photographs.tar", sizes, number=sizes.num_photographs)
        features: dict[str, Tensor] = {}
        for dtype in DTYPES:
            detector = load(weights, dtype=dtype, sizes=sizes, device=device)
            alone = measure_detector(say, detector, dtype=dtype, sizes=sizes)
            features[dtype] = pooled_features(detector)
            if dtype == "float16":
                say_profile(say, detector, sizes=sizes)
                measure_res5(say, detector)
            if dtype != "float32":
                start = seconds_of_stage(few, detector, sizes=sizes)
                seconds = seconds_of_stage(photographs, detector, sizes=sizes)
                stage = (sizes.num_photographs - sizes.num_photographs // 13) / (seconds - start)
                say(
                    f"{dtype}: stage {stage:.1f} images/s, {stage / alone:.0%} of its detector, behind a start of "
                    f"{start:.1f} s with the first {sizes.num_photographs // 13}; {seconds:.1f} s in all"
                )
            del detector
            synchronize(device)
    for dtype in DTYPES[:2]:
        cosines = nn.functional.cosine_similarity(features[dtype], features["float32"])
        say(f"{dtype}: cosine of features to float32, least {cosines.min():.7f}, mean {cosines.mean():.7f}")


def save_weights(path: Path, sizes: Sizes) -> Path:
    """Random weights of these sizes whose boxes overlap so little that `num_proposals` of an image stay."""
    names = ("backbone.res2", "backbone.res3", "backbone.res4", "roi_heads.res5")
    bottom_up_weights.STEM, bottom_up_weights.WIDTH = sizes.stem, sizes.width
    bottom_up_weights.NUM_BLOCKS = dict(zip(names, sizes.num_blocks, strict=True))
    bottom_up_weights.NUM_CLASSES, bottom_up_weights.NUM_ATTRIBUTES = sizes.num_classes, sizes.num_attributes
    bottom_up_weights.FEATURE_SIZE = 32 * sizes.width
    bottom_up_weights.HIDDEN = bottom_up_weights.ATTRIBUTE_HIDDEN = 8 * sizes.width
    weights = bottom_up_weights.tiny_weights()
    # The sum grows from block to block; what float16 can hold ends at 65,504.
    for name in weights:
        if name.endswith("conv3.norm.weight"):  # 264 at most in res4 with this, for these pictures
            weights[name] *= 0.2
    shifts = "proposal_generator.rpn_head.anchor_deltas"
    generator = np.random.default_rng(0)
    weights[f"{shifts}.weight"] = generator.normal(0, 1, weights[f"{shifts}.weight"].shape).astype(np.float32)
    weights[f"{shifts}.weight"] *= SPREAD / np.sqrt(weights[f"{shifts}.weight"].shape[1])
    # Small objects are the likeliest, so that boxes overlap little.
    likeliest = np.repeat([9.0, 0.0, -9.0, -18.0], 3).astype(np.float32)
    weights["proposal_generator.rpn_head.objectness_logits.bias"] = likeliest
    return bottom_up_weights.save_weights(path, weights)


def draw_photographs(path: Path, sizes: Sizes, *, number: int) -> Path:
    """JPEGs of soft noise, in `num_sizes` sizes about those of COCO and Flickr, mixed."""
    generator = np.random.default_rng(0)
    shapes = [(640, 480), (480, 640), (500, 375), (1024, 768)]
    shapes += [(640, 360 + 3 * step) for step in range(sizes.num_sizes - len(shapes))]
    with tarfile.open(path, "w") as tar:
        for index in range(number):
            noise = Image.fromarray(generator.integers(0, 256, (24, 32, 3), np.uint8))
            buffer = io.BytesIO()
            noise.resize(shapes[index % len(shapes)], Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
            member = tarfile.TarInfo(f"photograph-{index:06d}.jpg")
            member.size = buffer.tell()
            tar.addfile(member, io.BytesIO(buffer.getvalue()))
    return path


def load(path: Path, *, dtype: str, sizes: Sizes, device: torch.device) -> BottomUpDetector:
    bottom_up = BottomUpSettings(
        url=None,
        sha256=None,
        class_names=None,
        attribute_names=None,
        shorter_side=sizes.sides[0],
        longer_side=sizes.sides[1],
        num_proposals=sizes.num_proposals,
        box_source="proposal",
    )
    settings = DetectorSettings.model_validate(
        {"backend": "torchvision", "weights": None, "batch_size": 8, "dtype": dtype, "bottom_up": bottom_up}
    )
    return BottomUpDetector.load(path, settings=settings, device=device)


def resized_batch(detector: BottomUpDetector, count: int) -> tuple[Tensor, list[tuple[int, int]]]:
    """So many images of 640 x 480, resized and on the device, and the heights and widths that they had."""
    generator = np.random.default_rng(1)
    noise = [Image.fromarray(generator.integers(0, 256, (24, 32, 3), np.uint8)) for _ in range(count)]
    arrays = [detector.resize(np.asarray(one.resize((640, 480), Image.Resampling.BICUBIC))) for one in noise]
    pixels = torch.from_numpy(np.stack(arrays)).to(detector.device).permute(0, 3, 1, 2)
    return pixels, [(480, 640)] * count


def measure_detector(say: Say, detector: BottomUpDetector, *, dtype: str, sizes: Sizes) -> float:
    """Images a second of the detector alone."""
    pixels, of_size = resized_batch(detector, 8)
    started = time.perf_counter()
    found = detector.detect(pixels, of_size)
    synchronize(detector.device)
    first = time.perf_counter() - started
    rate = 8 / seconds_of(lambda: detector.detect(pixels, of_size), detector.device, num_turns=sizes.num_turns)
    counts = [len(one.boxes) for one in found]
    memory = torch.cuda.max_memory_allocated() / 2**30 if detector.device.type == "cuda" else 0
    is_finite = all(bool(one.features.isfinite().all()) for one in found)
    say(
        f"{dtype}: detector alone {rate:.1f} images/s; first batch {first:.1f} s; proposals {min(counts)} to "
        f"{max(counts)}; all finite: {is_finite}; {memory:.1f} GiB"
    )
    return rate


def pooled_features(detector: BottomUpDetector) -> Tensor:
    """[P, D] of fixed boxes of two images, so that no choice of boxes comes between two types."""
    pixels, of_size = resized_batch(detector, 2)
    generator = torch.Generator().manual_seed(2)
    corners = (torch.rand(100, 2, 2, generator=generator) * torch.tensor([640, 480])).sort(dim=1).values.flatten(1)
    return torch.cat([one.features.cpu() for one in detector.pool(pixels, [corners] * 2, of_size)])


def seconds_of_stage(tar: Path, detector: BottomUpDetector, *, sizes: Sizes) -> float:
    """From the tar to the store, with the start of the processes that choose."""
    with tarfile.open(tar) as photographs:
        num_images = len(photographs.getnames())
    started = time.perf_counter()
    extract_regions(
        tar,
        tar.with_suffix(".lmdb"),
        detector=detector,
        batch_size=8,
        selection=SELECTION,
        num_classes_kept=None,
        num_images=num_images,
        num_threads=sizes.num_threads,
    )
    return time.perf_counter() - started


def say_profile(say: Say, detector: BottomUpDetector, *, sizes: Sizes) -> None:
    """The kernels that take the longest in a batch, and how long the GPU works in all."""
    if detector.device.type != "cuda":
        return
    pixels, of_size = resized_batch(detector, 8)
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        detector.detect(pixels, of_size)
        synchronize(detector.device)
    rows = sorted(profiled.key_averages(), key=lambda row: -row.self_device_time_total)
    total = sum(row.self_device_time_total for row in rows)
    say(f"the GPU works {total / 1000:.1f} ms a batch of 8")
    for row in rows[:NUM_KERNELS]:
        say(f"  {row.self_device_time_total / 1000:7.2f} ms  {row.count:5} x  {row.key[:100]}")


def measure_res5(say: Say, detector: BottomUpDetector) -> None:
    """A part of boxes through res5 as the product does it, and its first block by cuDNN's fused convolutions."""
    if detector.device.type != "cuda":
        return
    network = detector.network
    assert isinstance(network, BottomUp)
    first = next(network.res5.children())
    assert isinstance(first, FoldedBlock)
    channels = first.conv1.convolution.in_channels
    shape = (BOXES_AT_ONCE, channels, POOL_SIZE, POOL_SIZE)
    maps = torch.rand(shape, dtype=detector.dtype, device=detector.device).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        ours = seconds_of(lambda: network.res5(maps), detector.device, num_turns=10)
        block = seconds_of(lambda: first(maps), detector.device, num_turns=10)
        fused = seconds_of(lambda: fused_block(first, maps), detector.device, num_turns=10)
        off = (fused_block(first, maps) - first(maps)).abs().max()
    say(
        f"res5 of {BOXES_AT_ONCE} boxes {1000 * ours:.2f} ms; its first block {1000 * block:.2f} ms, by cuDNN's fused "
        f"convolutions {1000 * fused:.2f} ms, {off:.4f} off at most"
    )


def fused_block(block: FoldedBlock, maps: Tensor) -> Tensor:
    """A residual block by the convolutions in which cuDNN adds bias and sum and takes the ReLU itself."""
    hidden = maps
    *first, last = (layer.convolution for layer in (block.conv1, block.conv2, block.conv3))
    for layer in first:
        hidden = torch.cudnn_convolution_relu(
            hidden, layer.weight, layer.bias, layer.stride, paddings(layer), layer.dilation, 1
        )
    added = maps if block.shortcut is None else block.shortcut(maps)
    return torch.cudnn_convolution_add_relu(
        hidden, last.weight, added, 1.0, last.bias, last.stride, paddings(last), last.dilation, 1
    )


def paddings(layer: nn.Conv2d) -> tuple[int, ...]:
    assert not isinstance(layer.padding, str)
    return layer.padding


def seconds_of(work: Callable[[], object], device: torch.device, *, num_turns: int) -> float:
    """Of one turn, after two that warm up."""
    for _ in range(2):
        work()
    synchronize(device)
    started = time.perf_counter()
    for _ in range(num_turns):
        work()
    synchronize(device)
    return (time.perf_counter() - started) / num_turns


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    measure(lambda *what: print(*what, flush=True), QUICK if "--quick" in sys.argv else WHOLE)
