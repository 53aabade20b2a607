"""Checkpoints: one safetensors file each, tensors by name and a JSON header, replaced in one step."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from graphcl.errors import InputError


def save(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write `tensors` and the JSON-serialisable `state` to `path`, or leave what was there.

    Tensors on the CPU are written from where they are: nothing of their size is allocated, but for those that share
    memory (tied weights), which are written once for each name.

    Raises:
        InputError: the file cannot be written (no space, no permission).
    """
    from safetensors.torch import save_file

    arrays: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in tensors.items():
        array = tensor.detach().cpu().contiguous()
        memory = array.untyped_storage().data_ptr()
        arrays[name] = array.clone() if memory in taken else array
        taken.add(memory)
    with replacing(path) as scratch:
        save_file(arrays, scratch, metadata={"state": json.dumps(state)})


def write_atomically(path: Path, blob: bytes) -> None:
    """Replace `path` by `blob` in one step: a reader sees the old bytes or the new, even after a power cut.

    Raises:
        InputError: the file cannot be written (no space, no permission).
    """
    with replacing(path) as scratch:
        scratch.write_bytes(blob)


def make_folder(path: Path) -> Path:
    """Make a folder, and those above it, where it is not there; returns it.

    Raises:
        InputError: it cannot be made (no permission, a file is in the way).
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made ({error.strerror}); choose a writable folder") from error
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write to; it takes the place of `path` once it is whole and on the disk.

    Raises:
        InputError: it cannot be written (no space, no permission); `path` is then as it was.
    """
    from safetensors import SafetensorError

    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        scratch.touch()
        mode = scratch.stat().st_mode
        yield scratch
        scratch.chmod(mode)  # safetensors makes a file of its own, which its owner alone may read
        with scratch.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except BaseException as error:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
        if not isinstance(error, OSError | SafetensorError):
            raise
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{path}: cannot be written ({reason}); what was saved before is intact; make room or choose "
            f"another folder (an interrupted training can be resumed)"
        ) from error


def sweep(folder: Path) -> None:
    """Remove what processes left that were killed while they wrote a checkpoint; nobody else may be writing here."""
    for scratch in folder.glob(".*.safetensors.*"):
        if scratch.suffix[1:].isdigit():
            scratch.unlink(missing_ok=True)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the state that `save` wrote.

    Raises:
        InputError: the file is missing, damaged, or not one of ours.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint; train first, or check the run folder's name")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a mapping
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a readable safetensors file ({error}); train again or restore it") from error
    if "state" not in header:
        raise InputError(f"{path}: a safetensors file, but not a checkpoint of this library: its header has no 'state'")
    return tensors, json.loads(header["state"])


def load_weights(module: Any, tensors: Mapping[str, Tensor], where: Path) -> None:
    """Copy `tensors` into `module`, which must have the same names and shapes.

    Raises:
        InputError: a name or a shape differs; the first difference is named.
    """
    wanted = module.state_dict()
    for name in sorted(wanted.keys() ^ tensors.keys()):
        side = "lacks" if name in wanted else "has, but the model does not know,"
        raise InputError(f"{where}: the checkpoint {side} {name!r}; it belongs to another model or configuration")
    for name, tensor in tensors.items():
        if wanted[name].shape != tensor.shape:
            raise InputError(
                f"{where}: {name!r} has shape {tuple(tensor.shape)}, the configuration asks for "
                f"{tuple(wanted[name].shape)}; it belongs to another configuration or data set"
            )
    module.load_state_dict(dict(tensors))
