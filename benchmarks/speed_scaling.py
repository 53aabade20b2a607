"""How a training step and its memory grow with the data: power-law graphs of rising size, each in a fresh process."""

import json
import resource
import subprocess
import sys
import time
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.speed_ops import power_law_graph
from recsys.data.interactions import Interactions
from recsys.models import MODELS

PER_USER, PER_ITEM = 20, 40
"""Interactions of a mean user and a mean item."""


def measure(name: str, pairs: int, batch_size: int) -> dict[str, float]:
    """Seconds to build the model, least CPU seconds of a step, peak GiB of the process."""
    torch.set_num_threads(1)
    users, items = pairs // PER_USER, pairs // PER_ITEM
    user, item = power_law_graph(users, items, pairs, torch.Generator().manual_seed(0))
    half = len(user) // 2
    train = Interactions(user=user[:half].clone(), item=item[:half] - users, num_users=users, num_items=items)
    del user, item
    started = time.process_time()
    model = MODELS[name](train, MODELS[name].Config())
    sampler = model.sampler()
    build = time.process_time() - started
    batches = sampler.batches(batch_size, torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        terms = model(next(batches), "all")
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
        best = min(best, time.process_time() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"interactions": half, "build": build, "step": best, "gib": peak}


def main(
    model: Annotated[str, typer.Option(help="name of a graph model")] = "dccf",
    sizes: Annotated[str, typer.Option(help="interactions, separated by commas")] = "100000,1000000,10000000",
    batch_size: Annotated[int, typer.Option(help="triples of a step")] = 2048,
) -> None:
    """Step time and peak memory by the number of interactions."""
    table = Table(title=f"{model}, batch {batch_size}, one thread", title_justify="left")
    for column in ("interactions", "build, CPU s", "step, CPU s", "step, CPU us per 1,000 edges", "peak GiB"):
        table.add_column(column, justify="right")
    for size in sizes.split(","):
        command = [sys.executable, "-m", "benchmarks.speed_scaling", model, size, str(batch_size)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        each = 1e9 * found["step"] / found["interactions"]
        table.add_row(
            f"{found['interactions']:,}",
            f"{found['build']:.2f}",
            f"{found['step']:.3f}",
            f"{each:.0f}",
            f"{found['gib']:.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    name, pairs, batch_size = sys.argv[1:]
    sys.stdout.write(json.dumps(measure(name, int(pairs), int(batch_size))) + "\n")
