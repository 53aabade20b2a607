"""Interactions in arrays: our npz files, and SciPy matrices that were pickled (read without trusting them)."""

import io
import pickle
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from graphcl.errors import InputError
from recsys.data.interactions import Interactions, Released
from recsys.data.raw import LARGEST_NUMBER, Numbered, Rows, number_rows
from recsys.data.tabular import divide, roles
from recsys.data.text import demand_content

PARTS = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class Npz:
    """Arrays `train_user, train_item, [valid_*], test_user, test_item` and scalars `n_users, n_items`.

    A file of undivided interactions has `user` and `item`, and may have `time` and `value`.
    """

    kind: ClassVar[str] = "npz"

    first_id: int = 0
    """What the source calls user and item 0: only the raw ids that are shown depend on it."""

    def read(self, paths: Mapping[str, Path]) -> Interactions | Released:
        """The content of {"interactions": path}."""
        if list(paths) != ["interactions"]:
            raise InputError(f"path: an npz file holds all parts; give one path, not {', '.join(paths)}")
        path = paths["interactions"]
        arrays = load_npz(path)
        divided = any(f"{part}_user" in arrays for part in PARTS)
        found = [part for part in PARTS if part != "valid" or "valid_user" in arrays] if divided else ["interactions"]
        parts = {part: f"{part}_" if divided else "" for part in found}
        for name in (
            "n_users",
            "n_items",
            *(f"{prefix}{end}" for prefix in parts.values() for end in ("user", "item")),
        ):
            if name not in arrays:
                raise InputError(f"{path}: has no array {name!r}; it has {', '.join(sorted(arrays))}")
            if name.startswith("n_"):
                refuse_no_count(arrays[name], name, path)
        rows = [arrays_to_rows(arrays, prefix, path) for prefix in parts.values()]
        numbered = number_rows(rows, ids="numbers", source=str(path))
        shape = int(arrays["n_users"].item()), int(arrays["n_items"].item())
        sizes = dict(zip(parts, numbered.sizes, strict=True))
        return divide(of_shape(numbered, shape, self.first_id, path), sizes)


def refuse_no_count(array: "np.ndarray[Any, Any]", name: str, path: Path) -> None:
    """Raise `InputError` unless an array holds one whole number of users or items."""
    if array.size != 1:
        raise InputError(f"{path}: {name} has shape {array.shape}; write a single number")
    if not np.issubdtype(array.dtype, np.integer) or not 0 <= int(array.item()) <= LARGEST_NUMBER:
        raise InputError(f"{path}: {name} is {array.item()!r}; write a whole number of at most {LARGEST_NUMBER:,}")


@dataclass(frozen=True, kw_only=True)
class ScipyPickle:
    """A pickled SciPy matrix per part, users x items, as SSLRec, DCCF and AdaGCL keep them.

    The unpickler admits NumPy arrays and the plain state of a SciPy matrix, nothing else: no code of the file runs.
    """

    kind: ClassVar[str] = "scipy_pickle"

    def read(self, paths: Mapping[str, Path]) -> Interactions | Released:
        """The interactions of {"interactions": path}, or the parts of {"train", "test" and maybe "valid": path}."""
        parts = roles(paths)
        matrices = {name: load_matrix(paths[name]) for name in parts}
        shapes = {shape for _, shape in matrices.values()}
        if len(shapes) > 1:
            raise InputError(f"{paths[parts[0]]}: the matrices differ in shape ({shapes}); take all from one release")
        numbered = number_rows([rows for rows, _ in matrices.values()], ids="numbers", source=str(paths[parts[0]]))
        together = of_shape(numbered, shapes.pop(), 0, paths[parts[0]])
        return divide(together, dict(zip(parts, numbered.sizes, strict=True)))


def of_shape(numbered: Numbered, shape: tuple[int, int], first_id: int, path: Path) -> Interactions:
    """Numbered rows among the users and items that the file declares."""
    for ids, count, role in ((numbered.user_ids, shape[0], "user"), (numbered.item_ids, shape[1], "item")):
        if len(ids) > count:
            raise InputError(f"{path}: {role} {len(ids) - 1} is not among the {count} {role}s that the file declares")
    return Interactions(
        user=numbered.user,
        item=numbered.item,
        num_users=shape[0],
        num_items=shape[1],
        time=numbered.time,
        value=numbered.value,
        user_ids=tuple(str(number + first_id) for number in range(shape[0])),
        item_ids=tuple(str(number + first_id) for number in range(shape[1])),
    )


def load_npz(path: Path) -> dict[str, Any]:
    """Every array of an npz file; objects are not admitted."""
    demand_content(path)
    try:
        content = np.load(path, allow_pickle=False)
        if not isinstance(content, np.ndarray):
            with content as archive:
                return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as npz ({error}); download or write it again") from error
    raise InputError(f"{path}: holds a single array (npy), not an archive of named ones; write it with numpy.savez")


def arrays_to_rows(arrays: Mapping[str, Any], prefix: str, path: Path) -> Rows:
    """The columns of one part."""
    columns = {end: arrays[f"{prefix}{end}"] for end in ("user", "item", "time", "value") if f"{prefix}{end}" in arrays}
    shapes = {name: column.shape for name, column in columns.items()}
    if len(set(shapes.values())) != 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise InputError(f"{path}: the arrays of {prefix or 'the interactions'} differ in shape: {shapes}")
    return Rows(pd.DataFrame(columns), lambda row: f"{path}, {prefix}user[{row}]")


def load_matrix(path: Path) -> tuple[Rows, tuple[int, int]]:
    """(the entries of a pickled SciPy matrix in the order in which it keeps them, its shape)."""
    demand_content(path)
    try:
        state = Admitted(io.BytesIO(path.read_bytes())).load()
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # a damaged pickle fails in any way
        raise InputError(f"{path}: cannot be read as a pickled matrix ({error}); download it again") from error
    if not isinstance(state, MatrixState):
        raise InputError(f"{path}: holds {type(state).__name__}, not a SciPy matrix; the reader scipy_pickle needs one")
    row, column, shape = state.entries(path)
    frame = pd.DataFrame({"user": row, "item": column})
    return Rows(frame, lambda number: f"{path}, entry {number + 1}"), shape


class MatrixState:
    """What a pickled SciPy matrix keeps, without SciPy: the state is data and is never called."""

    by_column: ClassVar[bool] = False
    """Whether compressed entries stand column after column; a square matrix does not show it."""

    def __init__(self, *ignored: Any) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise InputError(f"a matrix's state is {type(state).__name__}, not a dict; download the file again")
        self.state = state

    def entries(self, path: Path) -> tuple[Any, Any, tuple[int, int]]:
        """([n] rows, [n] columns, shape) of a COO, CSR or CSC matrix."""
        shape: Any = self.state.get("_shape", self.state.get("shape"))
        row, column = self.state.get("coords", (self.state.get("row"), self.state.get("col")))
        if row is None and "indptr" in self.state:
            pointer, index = np.asarray(self.state["indptr"]), np.asarray(self.state["indices"])
            major = np.repeat(np.arange(len(pointer) - 1), np.diff(pointer))
            row, column = (index, major) if self.by_column else (major, index)
        if not (isinstance(row, np.ndarray) and isinstance(column, np.ndarray) and isinstance(shape, tuple)):
            raise InputError(f"{path}: holds a matrix that is neither COO nor CSR nor CSC; convert it to one of them")
        value = self.state.get("data")
        if isinstance(value, np.ndarray) and value.shape == row.shape:  # some write zeros down
            row, column = row[value != 0], column[value != 0]
        return row, column, (int(shape[0]), int(shape[1]))


class ColumnsState(MatrixState):
    """The state of a CSC matrix."""

    by_column = True


class Admitted(pickle.Unpickler):
    """An unpickler that knows NumPy arrays and the state of SciPy matrices, and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        """What stands for `module.name`, or an `InputError`."""
        if module.startswith("scipy.sparse") and name in {
            f"{layout}_{kind}" for layout in ("coo", "csr", "csc") for kind in ("matrix", "array")
        }:
            return ColumnsState if name.startswith("csc") else MatrixState
        admitted = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("multiarray", "scalar"): np.float64(0).__reduce__()[0],
            ("numeric", "_frombuffer"): frombuffer,
            ("_codecs", "encode"): latin1,
        }
        place = module if module in ("numpy", "_codecs") else module.rpartition(".")[2]
        if (module in ("numpy", "_codecs") or module.startswith(("numpy.core.", "numpy._core."))) and (
            place,
            name,
        ) in admitted:
            return admitted[place, name]
        raise InputError(
            f"asks for {module}.{name}, which a matrix does not need; it is not loaded, for it may be harmful"
        )


def frombuffer(buffer: bytes, dtype: Any, shape: tuple[int, ...], order: str) -> Any:
    """What NumPy 1.x and 2.x call to rebuild an array from protocol 5."""
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


def latin1(text: str, encoding: str) -> bytes:
    """How protocol 2 spells bytes."""
    if encoding != "latin1":
        raise InputError(f"asks for the codec {encoding}, which a matrix does not need")
    return text.encode("latin1")
