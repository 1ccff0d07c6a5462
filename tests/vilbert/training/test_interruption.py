import os
import signal
import subprocess
import sys

import pytest

from vilbert.training.interruption import Interruption


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_is_noted_and_ends_nothing():
    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as stop:
        assert not stop.is_asked
        terminate()
        assert stop.is_asked
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_may_be_left_is_left_at_once():
    went_on = []

    def evaluate(stop):
        with stop.at_once("in the evaluation"):
            terminate()
            went_on.append(True)

    with Interruption() as stop, pytest.raises(SystemExit, match="in the evaluation"):
        evaluate(stop)
    assert not went_on


def test_a_second_sigterm_ends_the_process():
    code = """
import os, signal, time
from vilbert.training.interruption import Interruption
with Interruption():
    os.kill(os.getpid(), signal.SIGTERM)
    print("went on", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    print("went on again")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "went on\n")


def test_what_may_be_left_is_not_begun_after_sigterm():
    with Interruption() as stop:
        terminate()
        with pytest.raises(SystemExit, match="too late"), stop.at_once("too late"):
            pytest.fail("it began")


def test_after_it_sigterm_is_noted_again():
    with Interruption() as stop:
        with stop.at_once("never said"):
            pass
        terminate()
        assert stop.is_asked
