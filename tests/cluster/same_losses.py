"""Whether two trainings took the same way: python same_losses.py METRICS METRICS, both metrics.jsonl."""

import json
import sys
from pathlib import Path

TOLERANCE = 1e-5  # of a loss: sums of float32 in another order


def losses(path: Path) -> dict[tuple[int, str], float]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {(line["step"], name): value for line in lines for name, value in line.items() if "loss" in name}


if __name__ == "__main__":
    one, other = (losses(Path(path)) for path in sys.argv[1:])
    if not one or one.keys() != other.keys():
        raise SystemExit(f"not the same lines: {sorted(one.keys() ^ other.keys())}")
    differences = {key: abs(one[key] - other[key]) for key in one}
    worst = max(differences, key=lambda key: differences[key])
    if differences[worst] > TOLERANCE:
        raise SystemExit(f"{worst}: {one[worst]} and {other[worst]}")
    print(f"{len(one)} losses, none further apart than {differences[worst]:.1e}")
