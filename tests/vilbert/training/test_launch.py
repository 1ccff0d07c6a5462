import os
import subprocess
import sys

import pytest
from places import ROOT


@pytest.mark.parametrize("arguments", [[], ["2"], ["two", "vilbert.predict"]])
def test_what_is_no_number_of_processes_and_a_module_ends_in_one_line(arguments):
    command = [sys.executable, "-m", "vilbert.training.launch", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("expected NUM_PROCESSES MODULE ARGUMENT...\n")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("num_processes", "expected"), [("1", "6 4"), ("2", "3 2"), ("5", "1 1")])
def test_processes_share_the_threads(tmp_path, num_processes, expected):
    """Two processes with two threads each on two cores wait for each other, many times as long as they work."""
    (tmp_path / "say_threads.py").write_text(
        "import os\n"
        'said = f\'{os.environ["OMP_NUM_THREADS"]} {os.environ["MKL_NUM_THREADS"]}\\n\'\n'
        "os.write(1, said.encode())  # at once, or the lines of the processes mix\n"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "6", "MKL_NUM_THREADS": "4", "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    command = [sys.executable, "-m", "vilbert.training.launch", num_processes, "say_threads"]
    said = subprocess.check_output(command, text=True, env=environment).splitlines()
    assert said == [expected] * int(num_processes)
