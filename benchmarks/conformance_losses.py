"""Golden vectors of single losses: `<case>/<array>`, `<case>/meta` in JSON, gradients as `<case>/grad_<input>`."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.conformance import Archive, Case, Check

KINDS = {"official", "official-linked", "transcribed", "formula"}


class Inputs:
    """The inputs of one case by name; those that carry a gradient are parameters, so that a module can adopt them."""

    def __init__(self, archive: Archive, case: str, dtype: torch.dtype) -> None:
        meta = archive.json(f"{case}/meta")
        self.hyper: dict[str, Any] = meta["hyper"]
        self.archive, self.case, self.dtype = archive, case, dtype
        self.leaves = {name: nn.Parameter(archive.tensor(f"{case}/{name}", dtype)) for name in meta["grads"]}

    def __getitem__(self, name: str) -> Tensor:
        return self.leaves[name] if name in self.leaves else self.archive.tensor(f"{self.case}/{name}", self.dtype)


Loss = Callable[[Inputs], Tensor]
Outputs = Callable[[Inputs], dict[str, Tensor]]


def implemented() -> dict[str, Loss | Outputs]:
    """How each case is written with the library's public API; what returns a dict has outputs beside a loss."""
    from benchmarks import conformance_losses_beside as beside
    from benchmarks import conformance_losses_family as family
    from benchmarks import conformance_losses_kernel as kernel

    return {**family.CASES, **kernel.CASES, **beside.CASES}


def recognises(names: Collection[str]) -> bool:
    """Cases with a `meta` each and a note on the whole."""
    return "__about__" in names and any(name.endswith("/meta") for name in names)


def cases(archive: Archive) -> Iterator[Case]:
    """Every case of the file; one whose arrays contradict its own `meta` fails whether implemented or not."""
    _check_about(archive)
    known = implemented()
    for name in sorted({key.split("/")[0] for key in archive if "/" in key}):
        compute = known.get(name)
        try:
            check_structure(archive, name)
        except (KeyError, ValueError, TypeError) as error:
            yield Case(name, _failing(error))
        else:
            yield Case(name, None if compute is None else _runner(archive, name, compute))


def check_structure(archive: Archive, case: str) -> None:
    """Raise where the arrays of a case are not those its `meta` announces."""
    meta = archive.json(f"{case}/meta")
    if meta["kind"] not in KINDS or not meta["source"] or not isinstance(meta["hyper"], dict):
        raise ValueError(f"meta has kind {meta['kind']!r} or lacks a source or constants")
    arrays = {key.split("/", 1)[1]: archive[key] for key in archive if key.startswith(f"{case}/")}
    announced, found = set(meta["grads"]), {name[5:] for name in arrays if name.startswith("grad_")}
    if announced != found:
        raise ValueError(f"meta announces gradients of {sorted(announced)}, the file holds {sorted(found)}")
    for name in announced:
        if arrays[f"grad_{name}"].shape != archive[f"{case}/{name}"].shape:
            raise ValueError(f"grad_{name} has another shape than {name}")
    if announced and archive[f"{case}/loss"].shape != ():
        raise ValueError("loss is not a scalar")
    for name, array in arrays.items():
        if array.dtype.kind == "f" and (array.dtype != np.float64 or not np.isfinite(array).all()):
            raise ValueError(f"{name} is not finite float64")
        if name != "meta" and array.dtype.kind not in "fib":
            raise ValueError(f"{name} holds no numbers")


def _check_about(archive: Archive) -> None:
    about = archive.json("__about__")
    if about["dtype"] != "float64" or not {"seed", "B", "D", "layout"} <= set(about):
        raise ValueError(f"__about__ does not describe a float64 file of losses: {json.dumps(about)}")


def _runner(archive: Archive, case: str, compute: Loss | Outputs) -> Callable[[torch.dtype], Iterable[Check]]:
    def run(dtype: torch.dtype) -> Iterator[Check]:
        inputs = Inputs(archive, case, dtype)
        computed = compute(inputs)
        outputs = {"loss": computed} if isinstance(computed, Tensor) else computed
        for name, value in outputs.items():
            yield Check(name, archive[f"{case}/{name}"], value)
        if inputs.leaves:
            gradients = torch.autograd.grad(outputs["loss"], list(inputs.leaves.values()))
            for name, gradient in zip(inputs.leaves, gradients, strict=True):
                yield Check(f"grad_{name}", archive[f"{case}/grad_{name}"], gradient)

    return run


def _failing(error: Exception) -> Callable[[torch.dtype], Iterable[Check]]:
    def run(dtype: torch.dtype) -> Iterable[Check]:
        raise error

    return run
