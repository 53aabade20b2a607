"""Out of the way, not lost: what no longer fits is moved beside what takes its place."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path

from graphcl.training.checkpoint import make_folder


def set_aside(paths: Sequence[Path], folder: Path) -> Path:
    """Move files of one stem, or a folder, into `folder`, numbered; nothing is overwritten. Returns the first's new.

    The first goes last: should we be killed in between, it is still where the others are looked for.
    """
    make_folder(folder)
    number = next(n for n in count() if not any((folder / numbered(path, n)).exists() for path in paths))
    moved = [path.rename(folder / numbered(path, number)) for path in reversed(paths) if path.exists()]
    return moved[-1]


def numbered(path: Path, number: int) -> str:
    """`name.json` -> `name.0.json`, `name` -> `name.0`."""
    return f"{path.stem}.{number}{path.suffix}"
