import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")


def compare(*arguments) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).parent / "attend_short_on_cpu.py"), *map(str, arguments)]
    return json.loads(subprocess.check_output(command, env=os.environ | {"TRITON_INTERPRET": "1"}))


@pytest.mark.slow
@pytest.mark.parametrize("dropout_p", [0.0, 0.1])
@pytest.mark.parametrize(
    ("heads", "queries", "keys", "width", "dtype", "tolerance"),
    [(3, 5, 37, 64, "float32", 1e-5), (5, 37, 13, 128, "float32", 1e-5), (2, 16, 17, 32, "float16", 1e-2)],
)
def test_the_kernels_give_what_pytorch_gives(heads, queries, keys, width, dtype, tolerance, dropout_p):
    """bfloat16, which the interpreter cannot multiply, is compared by the GPU's benchmark."""
    found = compare(heads, queries, keys, width, dtype, dropout_p)
    assert found.pop("dropped") == pytest.approx(dropout_p, abs=0.04 if dropout_p else 0)
    assert found.keys() == {"result", "query", "key", "value"}
    assert max(found.values()) < tolerance
