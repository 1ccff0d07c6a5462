"""Which detector it is that the settings name, loaded."""

from pathlib import Path
from shlex import quote

import torch

from extract.detection.detector import Detector
from extract.settings import DetectorSettings


def load_detector(path: Path, *, settings: DetectorSettings, device: torch.device) -> Detector:
    """The detector whose weights stand at `path`.

    Raises: FileNotFoundError; ValueError if they are not of `settings.backend`, or the GPU has no bfloat16;
        ImportError if the backend is not there.
    """
    if (
        settings.dtype == "bfloat16"
        and device.type == "cuda"
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        raise ValueError(f"{torch.cuda.get_device_name(device)} has no bfloat16; set detector.dtype to 'float16'")
    if not path.is_file():
        raise FileNotFoundError(
            f"no detector at {path}; train one with `snakemake {quote(str(path))}` or set detector.weights"
        )
    # torchvision takes as long to import as torch, and a search by a text needs no detector
    if settings.bottom_up is not None:
        from extract.detection.detector_bottom_up import BottomUpDetector

        return BottomUpDetector.load(path, settings=settings, device=device)
    if settings.backend != "torchvision":
        raise ValueError(f"detector.backend is '{settings.backend}', which needs detector.bottom_up")
    from extract.detection.detector_torchvision import TorchvisionDetector

    return TorchvisionDetector.load(path, dtype=getattr(torch, settings.dtype), device=device)
