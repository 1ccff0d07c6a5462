"""Where the tests find the checkout and, beside it, real samples."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "tests/vilbert/data"  # what tests/vilbert/write_reference.py writes
REAL = Path(os.environ.get("VILBERT_SHARED_DATA", ROOT.parent / "shared/data"))  # real files, where they are there
DETECTOR = REAL.parent / "detector"  # numbers of the published detector
PARITY = REAL.parent / "parity"  # numbers of the published model
