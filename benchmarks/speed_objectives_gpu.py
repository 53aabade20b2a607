"""The GPU part of `python -m benchmarks.speed objectives`: time, memory and the share of the chip's matmul rate."""

import time
from collections.abc import Callable

import torch
from rich.table import Table
from torch import Tensor

from benchmarks.speed_objectives import MIB, Loss, dense_cross_entropy, dense_log_softmax, streaming


def matmul_rate(dtype: torch.dtype, size: int = 8192) -> float:
    """Floating-point operations per second of a large square product."""
    x = torch.randn(size, size, device="cuda", dtype=dtype)
    seconds = _best(lambda: x @ x)
    return 2 * size**3 / seconds


def table(size: int = 32768, dim: int = 64) -> Table:
    """InfoNCE of `size` rows: dense, dense compiled, streaming; float32 and bfloat16 inputs."""
    result = Table(
        title=f"{torch.cuda.get_device_name()}: {size} x {size} pairs, d {dim}, forward + backward", box=None
    )
    for column in ("loss", "dtype", "ms", "x dense", "extra MiB", "of matmul rate"):
        result.add_column(column, justify="left" if column in ("loss", "dtype") else "right")
    for dtype in (torch.float32, torch.bfloat16):
        rate = matmul_rate(dtype)
        reference = None
        for name, loss in (
            ("dense log-softmax", dense_log_softmax),
            ("dense cross-entropy", dense_cross_entropy),
            ("dense, torch.compile", torch.compile(dense_log_softmax)),
            ("graphcl streaming", streaming),
        ):
            seconds, memory = measure(loss, size, dim, dtype)
            reference = reference or seconds
            # Six products' worth of 2 N^2 d is what the mathematics needs: one forward, two backward; the streaming
            # form computes one more. The dense count is used for all, so that shares compare.
            share = 6 * size**2 * dim / seconds / rate
            result.add_row(
                name,
                str(dtype).removeprefix("torch."),
                f"{seconds * 1e3:.1f}",
                f"{seconds / reference:.2f}",
                f"{memory:.0f}",
                f"{share:.1%}",
            )
    return result


def measure(loss: Loss, size: int, dim: int, dtype: torch.dtype) -> tuple[float, float]:
    """Seconds of the best step and peak allocated memory above the inputs, in MiB."""
    generator = torch.Generator("cuda").manual_seed(0)
    a, b = (torch.randn(size, dim, device="cuda", generator=generator).to(dtype).requires_grad_() for _ in range(2))

    def step() -> None:
        a.grad = b.grad = None
        value: Tensor = loss(a, b)
        value.backward()

    step()
    torch.cuda.synchronize()
    a.grad = b.grad = None
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated() - before
    return _best(step), peak / MIB


def _best(run: Callable[[], object], rounds: int = 10) -> float:
    best = float("inf")
    for _ in range(rounds):
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best
