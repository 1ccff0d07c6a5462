"""A node's own disk: copies of the feature stores for as long as trainings read them, one a node.

The readers of a copy share a lock of its folder, which the kernel takes from a process however that ends. So the last
of them removes it, and what a killed one left is removed by the next training there.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

from extract.regions.store import RegionStore

KEPT_FREE = 1 << 30  # bytes that copies leave to others: compiled kernels, the scheduler
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
COPIED = "copied.json"  # of a folder of copies, when they are made: their names by the paths of the shards


@contextmanager
def on_scratch(stores: Sequence[RegionStore], scratch: str | None, *, first: Iterable[str] = ()) -> Iterator[None]:
    """Read stores from copies in `scratch` inside the block; shards that do not fit are read where they lie.

    SIGTERM ends the process by SystemExit meanwhile, so that its copies go.

    Args:
        scratch: as `runtime.scratch`; None: nothing is copied.
        first: keys of images whose shards are copied first, in their order.
    Raises: ValueError if `scratch` names a variable that is not set; FileNotFoundError or PermissionError if it is no
        folder, or not one that this user may write to.
    """
    if scratch is None:
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        with ExitStack() as held:
            try:
                read_copies(stores, folder_in(scratch), first=first, held=held)
            except OSError as error:
                if error.errno not in FULL:
                    raise
                print(f"{scratch}: {error.strerror}; feature stores are read from where they lie", file=sys.stderr)
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def read_copies(stores: Sequence[RegionStore], folder: Path, *, first: Iterable[str], held: ExitStack) -> None:
    """Read each store from its copies until `held` is closed. Raises: OSError if the disk has no room for a folder."""
    remove_left(folder)
    for store in stores:
        copies = held.enter_context(copied(store.in_order(first), folder))
        held.callback(store.read_from, {})
        store.read_from(copies)


def end(*_: object) -> NoReturn:
    raise SystemExit("SIGTERM: the copies on this node's disk are removed")


def folder_in(scratch: str) -> Path:
    """Where this user's trainings on this node find each other's copies."""
    path = Path(os.path.expandvars(scratch))
    if unset := re.search(r"\$(\w+|\{\w+\})", str(path)):
        raise ValueError(f"runtime.scratch is {scratch!r}, but {unset[0]} is not set on this node; name a folder")
    if not path.is_dir():
        raise FileNotFoundError(f"runtime.scratch is {scratch!r}, but there is no folder {path} on this node")
    folder = path / f"vilbert-stores-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise PermissionError(f"{folder} is another user's; give runtime.scratch another folder")
    return folder


@contextmanager
def copied(shards: Sequence[Path], folder: Path) -> Iterator[dict[Path, Path]]:
    """Copies by the paths of their shards, which nobody removes inside the block; those that fit, from the first on.

    Whoever comes first makes them, and the others of the node wait.
    """
    place = folder / name_of(shards)
    handle = take(place, shards)
    try:
        names = json.loads((place / COPIED).read_text())
        yield {Path(shard): place / name for shard, name in names.items()}
    finally:
        leave(place, handle)


def name_of(shards: Sequence[Path]) -> str:
    """One for the same files, in any order."""
    files = sorted((os.path.realpath(shard), shard.stat().st_size, shard.stat().st_mtime_ns) for shard in shards)
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]


def take(place: Path, shards: Sequence[Path]) -> int:
    """A folder of finished copies, open with a lock that others share."""
    while True:
        place.mkdir(exist_ok=True)
        try:
            handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # its last reader has just removed it
            continue
        try:
            if is_alone(handle) and is_at(handle, place):
                make_copies(shards, place)
            fcntl.flock(handle, fcntl.LOCK_SH)
        except BaseException:
            leave(place, handle)
            raise
        if is_at(handle, place) and (place / COPIED).exists():
            return handle
        os.close(handle)  # it was removed meanwhile, or who made it was killed


def leave(place: Path, handle: int) -> None:
    """Let go of a folder; the last one removes it."""
    if is_alone(handle) and is_at(handle, place):
        shutil.rmtree(place)
    os.close(handle)


def remove_left(folder: Path) -> None:
    """Remove what nobody reads: a training that was killed has left it."""
    for place in folder.iterdir():
        try:
            handle = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # another training has just removed it
            continue
        leave(place, handle)


def is_alone(handle: int) -> bool:
    """Whether nobody else has a lock; it is this process's own then, and shared with nobody."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_at(handle: int, place: Path) -> bool:
    """Whether an open folder still has its name: what was removed may be locked as well."""
    try:
        return os.path.samestat(os.fstat(handle), place.stat())
    except FileNotFoundError:
        return False


def make_copies(shards: Sequence[Path], place: Path) -> None:
    """Copy shards until one does not fit, and say how many did."""
    for left in place.iterdir():
        left.unlink()
    names: dict[str, str] = {}
    num_bytes, why = 0, ""
    for number, shard in enumerate(shards):
        name = f"{number:05d}.lmdb"
        if why := why_not_copied(shard, place / name):
            break
        names[str(shard)] = name
        num_bytes += shard.stat().st_size
    (place / COPIED).write_text(json.dumps(names))
    print(
        f"{len(names)} of {len(shards)} feature stores, {num_bytes / 1e9:.1f} GB, are read from {place}"
        + (f", the others from where they lie: {why}" if why else ""),
        file=sys.stderr,
    )


def why_not_copied(shard: Path, copy: Path) -> str:
    """Copy a file; gives what kept it from being copied, '' if nothing did."""
    size, free = shard.stat().st_size, shutil.disk_usage(copy.parent).free - KEPT_FREE
    if size > free:
        return f"{size / 1e9:.1f} GB do not fit into the {max(0, free) / 1e9:.1f} GB that are free"
    try:
        shutil.copyfile(shard, copy)
    except OSError as error:
        copy.unlink(missing_ok=True)
        if error.errno not in FULL:
            raise
        return str(error.strerror)
    return ""
