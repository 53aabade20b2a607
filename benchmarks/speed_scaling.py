"""How a training step and its memory grow with the data: power-law graphs of rising size, each in a fresh process."""

import json
import resource
import subprocess
import sys
import time
from typing import Annotated, Any

import torch
import typer

from benchmarks.speed_ops import power_law_graph
from benchmarks.speed_result import Measured, Out, publish
from recsys.data.interactions import Interactions
from recsys.models import MODELS

PER_USER, PER_ITEM = 20, 40
"""Interactions of a mean user and a mean item."""
STEPS = 3


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
    for _ in range(STEPS):
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
    out: Out = None,
) -> None:
    """Step time and peak memory by the number of interactions."""
    found = [in_process(model, size, batch_size) for size in sizes.split(",")]
    publish(
        "scaling",
        [
            Measured(
                f"{model}, batch {batch_size}",
                {
                    "interactions": ",",
                    "build, CPU s": ".2f",
                    "step, CPU s": ".3f",
                    "step, CPU ms per million": ".0f",
                    "peak GiB": ".2f",
                },
                [
                    (
                        one["interactions"],
                        one["build"],
                        one["step"],
                        1e9 * one["step"] / one["interactions"],
                        one["gib"],
                    )
                    for one in found
                ],
            )
        ],
        f"Power-law graphs with {PER_USER} interactions a user and {PER_ITEM} an item, defaults of the model, float32, "
        f"one thread, the fastest of {STEPS} steps; the peak is that of the whole process, torch and data included.",
        out,
    )


def in_process(model: str, size: str, batch_size: int) -> dict[str, Any]:
    """`measure` in a fresh interpreter, so that its peak memory is its own."""
    command = [sys.executable, "-m", "benchmarks.speed_scaling", model, size, str(batch_size)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    name, pairs, batch_size = sys.argv[1:]
    sys.stdout.write(json.dumps(measure(name, int(pairs), int(batch_size))) + "\n")
