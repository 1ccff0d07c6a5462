import subprocess
import sys

import pytest


@pytest.mark.parametrize("arguments", [[], ["2"], ["two", "vilbert.predict"]])
def test_what_is_no_number_of_processes_and_a_module_ends_in_one_line(arguments):
    command = [sys.executable, "-m", "vilbert.training.launch", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("expected NUM_PROCESSES MODULE ARGUMENT...\n")
    assert len(done.stderr.splitlines()) == 1
