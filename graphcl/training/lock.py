"""One process at a time: a lock that the system takes back when its holder dies, however it dies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graphcl.errors import InputError
from graphcl.training.checkpoint import make_folder, sweep

try:
    import fcntl
except ImportError:  # Windows: nobody is kept out
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(path: Path, what: str) -> Iterator[int]:
    """Hold the lock file `path`; yields its descriptor, which children may inherit to hold the lock with us.

    Raises:
        InputError: another process holds it, or the file cannot be made.
    """
    make_folder(path.parent)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(f"{path}: cannot be made ({error.strerror}); choose a writable folder") from error
    try:
        if fcntl is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(descriptor, 64).decode(errors="replace").strip() or "unknown"
                raise InputError(
                    f"{what} is being run by process {holder} or what it started ({path}); wait for it or stop it; "
                    f"nothing was changed"
                ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def alone(folder: Path | None) -> Iterator[None]:
    """Keep other processes from training in `folder`, and remove what one left that was killed.

    Raises:
        InputError: another process trains there.
    """
    if folder is None:
        yield
        return
    with locked(folder / ".lock", f"the training in {folder}"):
        sweep(folder)
        yield
