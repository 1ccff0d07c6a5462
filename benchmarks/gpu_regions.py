"""Regions on a GPU: the detector of bottom-up attention alone, and the whole stage on photographs of mixed sizes.

Random weights of the published size, ResNet-101 with 1600 classes, that propose 300 boxes an image. `python -m
benchmarks.gpu_regions` prints in less than four minutes on an H100; `--quick` sees on any machine that it runs. Each
section is a process of its own with a limit, so that one that hangs or fails leaves the others' figures.
"""

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torchvision.ops import nms

from extract.command import run
from extract.detection.bottom_up import BOXES_AT_ONCE, MAX_RANKED, POOL_SIZE, PROPOSAL_IOU, BottomUp
from extract.detection.detector_bottom_up import BottomUpDetector
from extract.detection.folded import FoldedBackbone, FoldedBlock, FoldedStage
from extract.devices import best_device
from extract.regions.batches import placed
from extract.regions.extract import extract_regions
from extract.settings import BottomUpSettings, DetectorSettings, SelectionSettings

sys.path.append(str(Path(__file__).parent.parent / "tests/extract"))
import bottom_up_weights  # type: ignore[import-not-found]  # it lies among the tests

SELECTION = SelectionSettings(threshold=0.2, min_regions=10, max_regions=36, nms_iou=0.3)
DTYPES = ("float16", "bfloat16", "float32")
NUM_KERNELS = 12  # that the profile names
SPREAD = 0.3  # of the shifts of anchors, by which random weights propose as many boxes as trained ones
BATCH_SIZE = 8
PHOTOGRAPH = (480, 640)  # height and width of those of which the detector alone has a batch


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


WHOLE = Sizes(64, 64, (3, 4, 23, 3), 1600, 400, (600, 1000), 300, 624, 50, 12, 6)
QUICK = Sizes(5, 2, (3, 4, 6, 3), 11, 7, (160, 240), 60, 13, 5, 1, 1)
Section = Callable[[Path, Sizes], Iterator[str]]


def main(
    section: Annotated[str | None, typer.Argument(help="one of them, of the files in FOLDER; none: all")] = None,
    folder: Annotated[Path | None, typer.Argument(help="of weights and photographs")] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="the smallest sizes, once: sees that they run")] = False,
) -> None:
    """Say what the detector and the stage make in a second, how far the halves are off, and where the time goes.

    Raises: SystemExit if a section failed.
    """
    sizes = QUICK if quick else WHOLE
    if section is not None and folder is not None:
        for line in SECTIONS[section](folder, sizes):
            print(f"{section}: {line}", flush=True)
        return
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(f"regions: {where}, torch {torch.__version__}", flush=True)
    with TemporaryDirectory() as made:
        prepare(Path(made), sizes)
        options = ["--quick"] if quick else []
        limits = dict.fromkeys(SECTIONS, PATIENCE) if quick else LIMITS
        failed = run_apart({name: [name, made, *options] for name in SECTIONS}, limits=limits)
    if failed:
        raise SystemExit(f"error: {', '.join(failed)} failed; what was measured before and after stands above")


def run_apart(commands: Mapping[str, list[str]], *, limits: Mapping[str, float]) -> list[str]:
    """Run each section, by the arguments of this module, in a process of its own; give the names of those that fail.

    Args:
        limits: seconds, after which a section is killed, with the processes that it started.
    """
    failed = []
    for name, arguments in commands.items():
        started = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.gpu_regions", *arguments]
        with subprocess.Popen(command, start_new_session=True) as process:
            try:
                process.wait(limits[name])
            except subprocess.TimeoutExpired:
                print(f"{name}: killed after {limits[name]:g} s, its limit", flush=True)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode != 0:
            failed.append(name)
        print(f"{name}: {time.monotonic() - started:.1f} s in all", flush=True)
    return failed


def measure_type(folder: Path, sizes: Sizes, *, dtype: str) -> Iterator[str]:
    """The detector alone, and where the time of a batch goes."""
    detector = load(folder / "weights.pkl", dtype=dtype, sizes=sizes, device=best_device())
    yield measure_detector(detector, sizes=sizes)
    yield from parts_of(detector, sizes=sizes)
    yield from kernels_of(detector)
    yield from suspects_of(detector, sizes=sizes)
    yield from suppression_of(detector, sizes=sizes)


def measure_stage(folder: Path, sizes: Sizes) -> Iterator[str]:
    """From a tar to its store in float16: at first, when every shape is new, and once none is."""
    detector = load(folder / "weights.pkl", dtype="float16", sizes=sizes, device=best_device())
    cold = seconds_of_stage(folder / "photographs.tar", detector, sizes=sizes)
    yield f"cold, {sizes.num_photographs / cold:.1f} images/s of {sizes.num_photographs}, with the processes' start"
    start = seconds_of_stage(folder / "few.tar", detector, sizes=sizes)
    warm = seconds_of_stage(folder / "photographs.tar", detector, sizes=sizes)
    rate = (sizes.num_photographs - sizes.num_photographs // 13) / (warm - start)
    yield f"warm, {rate:.1f} images/s behind the {start:.1f} s of the first {sizes.num_photographs // 13}"
    pixels, of_size = resized_batch(detector, BATCH_SIZE)
    alone = BATCH_SIZE / seconds_of(lambda: detector.detect(pixels, of_size), detector.device, sizes=sizes)
    yield f"{rate / alone:.0%} of its detector, which makes {alone:.1f} images/s alone"


def measure_rounding(folder: Path, sizes: Sizes) -> Iterator[str]:
    """How far the features of the halves are from those of float32."""
    features = {
        dtype: pooled_features(load(folder / "weights.pkl", dtype=dtype, sizes=sizes, device=best_device()))
        for dtype in DTYPES
    }
    for dtype in DTYPES[:2]:
        cosines = nn.functional.cosine_similarity(features[dtype], features["float32"])
        yield f"{dtype}, cosine of features to float32, least {cosines.min():.7f}, mean {cosines.mean():.7f}"


SECTIONS: dict[str, Section] = {
    "stage": measure_stage,
    **{dtype: partial(measure_type, dtype=dtype) for dtype in DTYPES},
    "rounding": measure_rounding,
}
LIMITS = {"stage": 80, "float16": 40, "bfloat16": 40, "float32": 35, "rounding": 35}  # seconds, on a GPU
PATIENCE = 600  # seconds, of a section that is only to run


def prepare(folder: Path, sizes: Sizes) -> None:
    """weights.pkl, and the photographs of the stage's start and of its run."""
    save_weights(folder / "weights.pkl", sizes)
    draw_photographs(folder / "few.tar", sizes, number=sizes.num_photographs // 13)
    draw_photographs(folder / "photographs.tar", sizes, number=sizes.num_photographs)


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
    """So many images of 640 x 480, resized, on their canvas and on the device, and the sizes that they had."""
    generator = np.random.default_rng(1)
    height, width = PHOTOGRAPH
    noise = [Image.fromarray(generator.integers(0, 256, (24, 32, 3), np.uint8)) for _ in range(count)]
    arrays = [detector.resize(np.asarray(one.resize((width, height), Image.Resampling.BICUBIC))) for one in noise]
    pixels = torch.from_numpy(placed(arrays, detector.canvas_size(PHOTOGRAPH), num_places=count))
    return pixels.to(detector.device).permute(0, 3, 1, 2), [PHOTOGRAPH] * count


def measure_detector(detector: BottomUpDetector, *, sizes: Sizes) -> str:
    """Images a second of the detector alone."""
    pixels, of_size = resized_batch(detector, BATCH_SIZE)
    started = time.perf_counter()
    found = detector.detect(pixels, of_size)
    synchronize(detector.device)
    first = time.perf_counter() - started
    rate = BATCH_SIZE / seconds_of(lambda: detector.detect(pixels, of_size), detector.device, sizes=sizes)
    counts = [len(one.boxes) for one in found]
    memory = torch.cuda.max_memory_allocated() / 2**30 if detector.device.type == "cuda" else 0
    is_finite = all(bool(one.features.isfinite().all()) for one in found)
    return (
        f"detector alone {rate:.1f} images/s; first batch {first:.1f} s; proposals {min(counts)} to "
        f"{max(counts)}; all finite: {is_finite}; {memory:.1f} GiB"
    )


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
        batch_size=BATCH_SIZE,
        selection=SELECTION,
        num_classes_kept=None,
        num_images=num_images,
        num_threads=sizes.num_threads,
    )
    return time.perf_counter() - started


@torch.inference_mode()
def parts_of(detector: BottomUpDetector, *, sizes: Sizes) -> Iterator[str]:
    """Milliseconds of each part of the network for a batch, which says at once which one a type is slow in."""
    network = detector.network
    assert isinstance(network, BottomUp)
    assert isinstance(network.backbone, FoldedBackbone)
    height, width = detector.canvas_size(PHOTOGRAPH)
    maps = torch.rand(BATCH_SIZE, 3, height, width, dtype=detector.dtype, device=detector.device)
    maps = maps.to(memory_format=torch.channels_last)
    layers = [network.backbone.stem, network.backbone.max_pool, *network.backbone.stages]
    for name, layer in zip(("stem", "max pool", "res2", "res3", "res4"), layers, strict=True):
        yield f"{name} {1000 * seconds_of(partial(layer, maps), detector.device, sizes=sizes):.2f} ms a batch"
        maps = layer(maps)
    boxes = network.propose(maps.float(), [(height, width)] * BATCH_SIZE)
    proposing = seconds_of(
        lambda: network.propose(maps.float(), [(height, width)] * BATCH_SIZE), detector.device, sizes=sizes
    )
    pooling = seconds_of(lambda: network.pool(maps, boxes), detector.device, sizes=sizes)
    count = sum(map(len, boxes))
    yield f"proposals {1000 * proposing:.2f} ms, pooling and res5 {1000 * pooling:.2f} ms of {count} boxes"


def kernels_of(detector: BottomUpDetector) -> Iterator[str]:
    """The kernels that take the longest in a batch, and how long the GPU works in all."""
    if detector.device.type != "cuda":
        return
    pixels, of_size = resized_batch(detector, BATCH_SIZE)
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        detector.detect(pixels, of_size)
        synchronize(detector.device)
    rows = sorted(profiled.key_averages(), key=lambda row: -row.self_device_time_total)
    total = sum(row.self_device_time_total for row in rows)
    yield f"the GPU works {total / 1000:.1f} ms a batch of {BATCH_SIZE}"
    for row in rows[:NUM_KERNELS]:
        yield f"  {row.self_device_time_total / 1000:7.2f} ms  {row.count:5} x  {row.key[:100]}"


@torch.inference_mode()
def suspects_of(detector: BottomUpDetector, *, sizes: Sizes) -> Iterator[str]:
    """The two convolutions for which cuDNN may have no fast kernel of a type, each beside one that has its result."""
    network = detector.network
    assert isinstance(network, BottomUp)
    assert isinstance(network.backbone, FoldedBackbone)
    assert isinstance(network.res5, FoldedStage)
    stem = network.backbone.stem.convolution
    height, width = detector.canvas_size(PHOTOGRAPH)
    images = torch.rand(BATCH_SIZE, 3, height, width, dtype=detector.dtype, device=detector.device)
    images = images.to(memory_format=torch.channels_last)
    filled, weight = (
        nn.functional.pad(one, (0, 0, 0, 0, 0, 5)).contiguous(memory_format=torch.channels_last)
        for one in (images, stem.weight)
    )
    yield "stem " + beside(
        lambda: nn.functional.conv2d(images, stem.weight, None, stem.stride, stem.padding),
        lambda: nn.functional.conv2d(filled, weight, None, stem.stride, stem.padding),
        "with its 3 channels filled up to 8",
        detector.device,
        sizes=sizes,
    )
    block = next(network.res5.blocks.children())
    assert isinstance(block, FoldedBlock)
    dilated = block.conv2.convolution
    shape = (BOXES_AT_ONCE, dilated.in_channels, POOL_SIZE, POOL_SIZE)
    maps = torch.rand(shape, dtype=detector.dtype, device=detector.device).to(memory_format=torch.channels_last)
    phases = in_phases(maps).contiguous(memory_format=torch.channels_last)
    yield f"a dilated convolution of {BOXES_AT_ONCE} boxes " + beside(
        lambda: in_phases(nn.functional.conv2d(maps, dilated.weight, None, 1, 2, 2)),
        lambda: nn.functional.conv2d(phases, dilated.weight, None, 1, 1),
        "as one of every second cell, not dilated",
        detector.device,
        sizes=sizes,
    )


def beside(
    one: Callable[[], Tensor], other: Callable[[], Tensor], name: str, device: torch.device, *, sizes: Sizes
) -> str:
    """Milliseconds of two ways to one result, and how far these are apart."""
    first, second = (1000 * seconds_of(work, device, sizes=sizes) for work in (one, other))
    apart = float((one().float() - other().float()).abs().max())
    return f"{first:.2f} ms, {name} {second:.2f} ms, {apart:.2g} apart"


def in_phases(maps: Tensor) -> Tensor:
    """[P, c, h, w] as [4 P, c, h / 2, w / 2]: every second row and column, within which a dilation of 2 is none."""
    count, channels, height, width = maps.shape
    halves = maps.view(count, channels, height // 2, 2, width // 2, 2)
    return halves.permute(0, 3, 5, 1, 2, 4).reshape(4 * count, channels, height // 2, width // 2)


def suppression_of(detector: BottomUpDetector, *, sizes: Sizes) -> Iterator[str]:
    """The end of the proposals beside torchvision's, which is asked image by image; and whether they are the same."""
    if detector.device.type != "cuda":
        return
    from extract.detection import kernels

    generator = torch.Generator().manual_seed(3)
    corners = torch.rand(BATCH_SIZE, MAX_RANKED, 2, generator=generator) * 800
    boxes = torch.cat([corners, corners + 30 + 120 * torch.rand(corners.shape, generator=generator)], dim=2)
    boxes = boxes.to(detector.device)
    is_candidate = torch.ones(boxes.shape[:2], dtype=torch.bool, device=detector.device)
    falling = -torch.arange(MAX_RANKED, dtype=torch.float32, device=detector.device)
    ours = partial(kernels.nms, boxes, is_candidate, iou=PROPOSAL_IOU, num_kept=sizes.num_proposals)

    def theirs() -> list[Tensor]:
        return [nms(of_image, falling, PROPOSAL_IOU)[: sizes.num_proposals] for of_image in boxes]

    both = [1000 * seconds_of(work, detector.device, sizes=sizes) for work in (ours, theirs)]
    kept, counts = ours()
    is_same = all(
        kept[index, :count].equal(expected)
        for index, (count, expected) in enumerate(zip(counts.tolist(), theirs(), strict=True))
    )
    yield f"suppression {both[0]:.2f} ms a batch, torchvision's {both[1]:.2f} ms; the same boxes: {is_same}"


def seconds_of(work: Callable[[], object], device: torch.device, *, sizes: Sizes) -> float:
    """Of one turn, after two that warm up."""
    for _ in range(2):
        work()
    synchronize(device)
    started = time.perf_counter()
    for _ in range(sizes.num_turns):
        work()
    synchronize(device)
    return (time.perf_counter() - started) / sizes.num_turns


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    run(main)
