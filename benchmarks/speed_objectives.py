"""Contrastive losses, forward and backward: the streaming kernel beside dense forms and other libraries."""

import gc
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from rich.table import Table
from torch import Tensor

from graphcl.objectives import InfoNCE, NTXent
from recsys.console import console

Loss = Callable[[Tensor, Tensor], Tensor]

TEMPERATURE = 0.2
MIB = 1 << 20

_stubs: list[torch.library.Library] = []


def dense_log_softmax(a: Tensor, b: Tensor) -> Tensor:
    """InfoNCE as it is usually written."""
    logits = F.normalize(a) @ F.normalize(b).T / TEMPERATURE
    return -torch.log_softmax(logits, 1).diagonal().mean()


def dense_cross_entropy(a: Tensor, b: Tensor) -> Tensor:
    """InfoNCE through the fused cross-entropy."""
    logits = F.normalize(a) @ F.normalize(b).T / TEMPERATURE
    return F.cross_entropy(logits, torch.arange(len(a), device=a.device))


def lightly_ntxent(a: Tensor, b: Tensor) -> Tensor:
    """NT-Xent of lightly."""
    loss: Tensor = _lightly().NTXentLoss(temperature=TEMPERATURE)(a, b)
    return loss


def _lightly() -> ModuleType:
    """Lightly imports torchvision for other losses, and one built for another torch lacks operators that it registers.

    A declaration of each is enough for the import; nothing here calls them.
    """
    while True:
        try:
            return import_module("lightly.loss")
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None:
                raise
            _stubs.append(torch.library.Library("torchvision", "FRAGMENT"))
            _stubs[-1].define(f"{missing[1]}(Tensor x) -> Tensor")


def pml_supcon(a: Tensor, b: Tensor) -> Tensor:
    """NT-Xent of pytorch-metric-learning, as SupCon with one label per row (its NTXentLoss needs N^3 memory)."""
    from pytorch_metric_learning.losses import SupConLoss

    loss: Tensor = SupConLoss(temperature=TEMPERATURE)(torch.cat([a, b]), torch.arange(len(a)).repeat(2))
    return loss


def streaming(a: Tensor, b: Tensor) -> Tensor:
    """InfoNCE of graphcl."""
    loss: Tensor = InfoNCE(TEMPERATURE)(a, b)
    return loss


def streaming_ntxent(a: Tensor, b: Tensor) -> Tensor:
    """NT-Xent of graphcl."""
    loss: Tensor = NTXent(TEMPERATURE)(a, b)
    return loss


@dataclass(frozen=True)
class Contestant:
    """A loss and how many rows each view has; all of a group compute a matrix of the same size."""

    name: str
    loss: Loss
    views: int = 1
    """how many views are anchors: with two, each has half the rows"""
    library: str | None = None


CONTESTANTS = (
    Contestant("InfoNCE, graphcl streaming", streaming),
    Contestant("InfoNCE, dense log-softmax", dense_log_softmax),
    Contestant("InfoNCE, dense cross-entropy", dense_cross_entropy),
    Contestant("NT-Xent, graphcl streaming", streaming_ntxent, 2),
    Contestant("NT-Xent, lightly", lightly_ntxent, 2, "lightly"),
    Contestant("NT-Xent, pytorch-metric-learning", pml_supcon, 2, "pytorch_metric_learning"),
)


def step(loss: Loss, size: int, dim: int, device: str = "cpu", dtype: torch.dtype = torch.float32) -> float:
    """Seconds of one forward and backward pass on random rows."""
    generator = torch.Generator(device).manual_seed(0)
    a, b = (torch.randn(size, dim, device=device, generator=generator).to(dtype).requires_grad_() for _ in range(2))
    _wait(device)
    start = time.perf_counter()
    loss(a, b).backward()
    _wait(device)
    return time.perf_counter() - start


def extra_memory(loss: Loss, size: int, dim: int, threads: int) -> float:
    """Peak resident memory of one step above what the process held before it, in MiB; in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (loss, size, dim, threads))


def _peak(loss: Loss, size: int, dim: int, threads: int) -> float:
    torch.set_num_threads(threads)
    step(loss, 64, dim)  # libraries load and thread pools start before the count begins
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = _status("VmRSS")
    step(loss, size, dim)
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1])


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _installed(contestant: Contestant) -> bool:
    from importlib.util import find_spec

    return contestant.library is None or find_spec(contestant.library) is not None


def main(
    size: Annotated[int, typer.Option(help="anchors and candidates")] = 8192,
    dim: Annotated[int, typer.Option(help="embedding size")] = 64,
    threads: Annotated[int, typer.Option(help="CPU threads")] = 2,
    rounds: Annotated[int, typer.Option(help="the best of this many counts")] = 3,
    large: Annotated[int, typer.Option(help="size at which the streaming form runs alone; 0 for none")] = 65536,
) -> None:
    """Time and peak memory of contrastive losses; exits with 1 where the streaming form misses its bars."""
    torch.set_num_threads(threads)
    contestants = [contestant for contestant in CONTESTANTS if _installed(contestant)]
    best = dict.fromkeys(contestants, float("inf"))
    for _ in range(rounds):
        for contestant in contestants:
            best[contestant] = min(best[contestant], step(contestant.loss, size // contestant.views, dim))
    memory = {c: extra_memory(c.loss, size // c.views, dim, threads) for c in contestants}
    dense = best[CONTESTANTS[1]]

    table = Table(title=f"{size} x {size} pairs, d {dim}, float32, forward + backward, {threads} threads", box=None)
    for column in ("loss", "seconds", "x dense", "extra MiB"):
        table.add_column(column, justify="left" if column == "loss" else "right")
    for contestant in contestants:
        seconds = best[contestant]
        table.add_row(contestant.name, f"{seconds:.2f}", f"{seconds / dense:.2f}", f"{memory[contestant]:.0f}")
    held = best[CONTESTANTS[0]] <= 0.6 * dense and memory[CONTESTANTS[0]] <= 40
    if large:
        seconds, peak = step(streaming, large, dim), extra_memory(streaming, large, dim, threads)
        table.add_row(f"InfoNCE, graphcl streaming, N {large}", f"{seconds:.2f}", "", f"{peak:.0f}")
        held &= peak < 1024
    console.print(table)
    beyond = f", under 1 GiB at N {large}" if large else ""
    console.print(f"bars: extra memory <= 40 MiB, time <= 0.6 x dense{beyond}: {_verdict(held)}")
    if torch.cuda.is_available():
        from benchmarks import speed_objectives_gpu

        console.print(speed_objectives_gpu.table())
    if not held:
        raise typer.Exit(1)


def _verdict(held: bool) -> str:
    return "[green]held[/]" if held else "[red]missed[/]"
