"""The regions of one shard's images.

python -m extract.regions.extract TAR TABLE MODEL OUT_STORE OUT_MANIFEST OUT_COUNTS
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor
from tqdm import tqdm

from extract.command import run
from extract.detection.detector import Detector, Proposals, Size
from extract.detection.loading import load_detector
from extract.devices import DeviceChoice, best_device
from extract.regions.batches import SeenImage
from extract.regions.in_order import regions_in_order
from extract.regions.selection import Selection, select_regions
from extract.regions.store import Regions, RegionStoreWriter, manifest_path
from extract.settings import DetectorSettings, SelectionSettings, StoreSettings
from extract.tables import IMAGES, REGION_COUNTS, read_rows, write_table

Map = Callable[..., Iterator[Any]]


def main(
    tar: Path,
    table: Path,
    model: Path,
    store: Path,
    manifest: Path,
    counts: Path,
    detector: Annotated[DetectorSettings, typer.Option(parser=DetectorSettings.model_validate_json)],
    selection: Annotated[SelectionSettings, typer.Option(parser=SelectionSettings.model_validate_json)],
    store_settings: Annotated[StoreSettings, typer.Option("--store", parser=StoreSettings.model_validate_json)],
    threads: Annotated[int, typer.Option(min=1, help="that decode; half as many processes choose the regions")] = 1,
    device: Annotated[DeviceChoice, typer.Option(help="auto: a GPU if there is one")] = DeviceChoice.AUTO,
) -> None:
    """Detect, select and store the regions of every image in TAR that decodes; every image is a row of COUNTS."""
    if manifest != manifest_path(store):
        raise ValueError(f"the manifest of {store} is {manifest_path(store)}, got {manifest}")
    num_images = len({row["image_key"] for row in read_rows(table, IMAGES)} - {None})
    trained = load_detector(model, settings=detector, device=best_device(device))
    rows = extract_regions(
        tar,
        store,
        detector=trained,
        batch_size=detector.batch_size,
        selection=selection,
        num_classes_kept=store_settings.num_classes_kept,
        num_images=num_images,
        num_threads=threads,
    )
    write_table(counts, rows, REGION_COUNTS)


def extract_regions(
    tar: Path,
    store: Path,
    *,
    detector: Detector,
    batch_size: int,
    selection: SelectionSettings,
    num_classes_kept: int | None,
    num_images: int,
    num_threads: int = 1,
    shows_progress: bool = True,
) -> list[dict]:
    """Write the store of a tar; give one row of tables.REGION_COUNTS an image. Neither depends on `num_threads`."""
    writer = RegionStoreWriter(
        store,
        classes=detector.classes,
        feature_size=detector.feature_size,
        num_classes_kept=num_classes_kept,
        box_source=detector.box_source,
        detector=detector.identity,
        selection=selection.model_dump(mode="json"),
        attributes=detector.attributes,
    )
    rows: list[dict] = []
    progress = tqdm(total=num_images, desc="regions", unit="image", disable=not shows_progress)
    with writer, mapping(num_threads) as over, progress as bar:
        for image, regions in regions_in_order(
            tar,
            detector=detector,
            batch_size=batch_size,
            num_threads=num_threads,
            look=lambda batch: detector.detect(batch.pixels, batch.sizes),
            read=lambda proposals, sizes: to_regions(proposals, sizes, selection=selection, over=over),
        ):
            rows.append(put(writer, image, regions))
            bar.update()
    return rows


@contextmanager
def mapping(num_threads: int) -> Iterator[Map]:
    """`map`, by processes where the job has threads for them: choosing regions would keep Python from the detector."""
    if num_threads == 1:
        yield map
    else:
        with ProcessPoolExecutor(num_threads // 2, mp_context=get_context("spawn")) as processes:
            yield processes.map


def to_regions(
    proposals: list[Proposals], sizes: list[Size], *, selection: SelectionSettings, over: Map = map
) -> list[Regions]:
    """The chosen proposals of each image of a batch, on the CPU; of the features, these alone are copied there."""
    boxes = [of_image.boxes.cpu().numpy() for of_image in proposals]
    class_probs = [of_image.class_probs.cpu().numpy() for of_image in proposals]
    selections = list(over(partial(select_regions, settings=selection), boxes, class_probs))
    return [
        chosen_regions(*of_image) for of_image in zip(proposals, sizes, boxes, class_probs, selections, strict=True)
    ]


def chosen_regions(
    proposals: Proposals, size: Size, boxes: np.ndarray, class_probs: np.ndarray, chosen: Selection
) -> Regions:
    """Those of one image of `size`; boxes and class probabilities are those of the proposals, on the CPU."""
    height, width = size
    indices = torch.from_numpy(chosen.indices).to(proposals.features.device)
    attribute_ids, attribute_probs = likeliest_attributes(proposals, indices)
    return Regions(
        boxes=boxes[chosen.indices],
        scores=chosen.scores,
        features=proposals.features[indices].half().cpu().numpy(),
        class_probs=class_probs[chosen.indices].astype(np.float16),
        image_size=(width, height),
        num_confident=chosen.num_confident,
        is_short=chosen.is_short,
        attribute_ids=attribute_ids,
        attribute_probs=attribute_probs,
    )


def likeliest_attributes(proposals: Proposals, indices: Tensor | slice) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Numbers [N] uint16 and probabilities [N] float16 for the proposals that are asked for; null: none are told."""
    if proposals.attribute_probs is None:
        return None, None
    likeliest = proposals.attribute_probs[indices].max(dim=1)
    return likeliest.indices.cpu().numpy().astype(np.uint16), likeliest.values.half().cpu().numpy()


def put(writer: RegionStoreWriter, image: SeenImage, regions: Regions | None) -> dict:
    """Store the regions of an image, if it has any, and give its row."""
    row: dict = {"key": image.key, "num_regions": 0, "num_confident": 0}
    if image.objection is not None:
        return row | image.objection._asdict()
    assert regions is not None
    if len(regions) == 0:
        return row | {"reason": "no_proposals", "detail": "{} x {}".format(*regions.image_size)}
    writer.put(image.key, regions)
    return row | {"num_regions": len(regions), "num_confident": regions.num_confident}


if __name__ == "__main__":
    run(main)
