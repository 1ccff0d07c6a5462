"""Strangers' images decoded in processes of their own: one that takes too long or too much memory ends its process.

python -m extract.images.decoder MAX_PIXELS MAX_SIDE SECONDS BYTES is such a process, which reads images and answers
with what became of them. No library can be stopped in the middle of an image, and a process can. Every image comes in
by this door, so that the stages behind it decode what was decoded once, within these bounds.
"""

import os
import pickle
import resource
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO, Self

from extract.images.decoding import ImageFile, prepare_image
from extract.reasons import DownloadFailure, DownloadReason, too_costly

CPU_SECONDS = 30  # of an image; a PNG of 98 megapixels takes 8
MEMORY = 1 << 30  # bytes that an image may take
MEMORY_PER_PIXEL = 24  # bytes, and so many for each that it may have; a PNG that one can see through takes 20
READY = b"ready\n"


class Decoders:
    """Processes that decode one image each at a time, for as many threads; used in a `with` block."""

    def __init__(self, count: int = 1, *, max_pixels: int, max_side: int | None) -> None:
        self._all = [_Decoder(max_pixels=max_pixels, max_side=max_side) for _ in range(count)]
        self._idle: SimpleQueue[_Decoder] = SimpleQueue()
        for decoder in self._all:
            self._idle.put(decoder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for decoder in self._all:
            decoder.end()

    def prepare(self, data: bytes) -> ImageFile:
        """What `decoding.prepare_image` makes of an image.

        Raises: DownloadFailure as that does, and where the process had to end; OSError if it cannot be started.
        """
        decoder = self._idle.get()
        try:
            return decoder.prepare(data)
        finally:
            self._idle.put(decoder)


class _Decoder:
    """One process, started when it is first asked for, and again after it ended."""

    def __init__(self, *, max_pixels: int, max_side: int | None) -> None:
        bounds = (max_pixels, max_side or 0, CPU_SECONDS, MEMORY + MEMORY_PER_PIXEL * max_pixels)
        self._command = [sys.executable, "-m", "extract.images.decoder", *map(str, bounds)]
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self, data: bytes) -> ImageFile:
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump(data, process.stdin, protocol=5)
            process.stdin.flush()
            answer: ImageFile | DownloadFailure = pickle.load(process.stdout)
        except (BrokenPipeError, EOFError, pickle.UnpicklingError) as error:
            raise self._ended() from error
        if isinstance(answer, DownloadFailure):
            raise answer
        return answer if answer.data else replace(answer, data=data)

    def end(self) -> int:
        """What the process ended with; 0 if there is none."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.kill()  # unless it has ended by itself
        process.communicate()
        return process.returncode

    def _start(self) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        if process.stdout.readline() != READY:
            process.communicate()
            raise OSError(f"`{' '.join(self._command)}` ended with {process.returncode} before it read an image")
        return process

    def _ended(self) -> DownloadFailure:
        """Why an image ended the process."""
        code = self.end()
        if code == -signal.SIGPROF:
            return too_costly(f"more than {CPU_SECONDS} seconds to decode")
        name = signal.Signals(-code).name if code < 0 else f"code {code}"
        return DownloadFailure(DownloadReason.UNDECODABLE_IMAGE, f"the decoder ended with {name}")


def serve(
    requests: BinaryIO, answers: BinaryIO, *, max_pixels: int, max_side: int | None, seconds: float, memory: int
) -> None:
    """Answer with an ImageFile or a DownloadFailure for each image, until there are none.

    The kernel ends the process, whatever library it is in, when an image has taken its time on the CPU: of the wall
    clock's, a busy machine may need any.
    """
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)  # of whoever asks: then there is nothing more to read
    warnings.simplefilter("ignore")  # odd metadata is no fault of the picture
    limit_memory(memory)
    answers.write(READY)
    answers.flush()
    answer: ImageFile | DownloadFailure
    while True:
        try:
            data = pickle.load(requests)
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            answer = prepare_image(data, max_pixels=max_pixels, max_side=max_side)
            if answer.data is data:
                answer = replace(answer, data=b"")  # whoever asks has it
        except DownloadFailure as failure:
            is_full = isinstance(failure.__cause__, MemoryError)
            answer = too_costly(f"more than {memory >> 20} MB to decode") if is_full else failure
        signal.setitimer(signal.ITIMER_PROF, 0)
        pickle.dump(answer, answers, protocol=5)
        answers.flush()


def limit_memory(num_bytes: int) -> None:
    """Let the process take so many bytes more than it has; without a /proc, which tells how many, it is not bounded."""
    pages = Path("/proc/self/statm")
    if not pages.exists():
        return
    taken = int(pages.read_text().split()[5]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = taken + num_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


if __name__ == "__main__":
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    pixels, side, cpu_seconds, num_bytes = sys.argv[1:]
    serve(
        sys.stdin.buffer,
        pipe,
        max_pixels=int(pixels),
        max_side=int(side) or None,
        seconds=float(cpu_seconds),
        memory=int(num_bytes),
    )
