"""Speed and memory of the meta-path models, beside a literal dense re-statement, each in a process of its own.

    python -m benchmarks.speed_metapath --data DIR [--out FILE] [--only meow,...]

Dense means what the authors' code does: every graph, context and feature table a dense matrix, N x N weights and
similarities, N x N x d sums for AdaMEOW, five restarts of k-means per clustering and epoch. Seconds are CPU seconds
of one thread; memory is the growth of the peak resident set over a process that has only imported torch and read data.
"""

import json
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import typer
from torch import Tensor
from torch_geometric.data import HeteroData

from benchmarks import dense_meow
from graphcl.data.recipe import GraphRecipe
from graphcl.evaluation.probe import Probe, linear_probe
from graphcl.models import MEOW, AdaMEOW
from graphcl.models.base import NodeBatch
from graphcl.models.metapath import MetaPathEmbedder
from graphcl.models.pair_weights import PairWeights
from graphcl.objectives import AdaptiveInfoNCE, dot
from recsys.config import build, read

CONFIGS = Path(__file__).parent / "configs" / "metapath"
PAIRS = 2000
"""Rows for the pair weights: the dense form of ACM's 4019 needs some 20 GB."""


def main(
    data: Annotated[Path, typer.Option(envvar="GRAPHCL_DATA", help="folder of the data sets")],
    out: Annotated[Path, typer.Option(help="where the record goes")] = Path("benchmarks/results/speed_metapath.json"),
    only: Annotated[str, typer.Option(help="comma-separated measurements; all by default")] = "",
) -> None:
    """Measure; each in a fresh process, one after the other."""
    found: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    for name in only.split(",") if only else MEASUREMENTS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found[name] = pool.apply(measure, (name, str(data)))
        typer.echo(f"{name}: {found[name]}")
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=1))


def measure(name: str, data_root: str) -> dict[str, float]:
    """Run one measurement in this process."""
    torch.set_num_threads(1)
    return MEASUREMENTS[name](Path(data_root))


def peak_mib() -> float:
    """The largest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(step: Callable[[], object], times: int, before_mib: float) -> dict[str, float]:
    """CPU seconds of one step, the least of some after a first (boxes are shared), and memory above `before_mib`."""
    step()
    seconds = []
    for _ in range(times):
        started = time.process_time()
        step()
        seconds.append(time.process_time() - started)
    return {"cpu_seconds": min(seconds), "mib": peak_mib() - before_mib}


def load(row: str, root: Path) -> tuple[HeteroData, Any]:
    """The graph of a configured row and its model's Config."""
    tree = read(CONFIGS / f"{row}.yaml")
    model_tree = dict(tree["model"])
    model: Any = {"meow": MEOW, "adameow": AdaMEOW}[model_tree.pop("kind")]
    return build(GraphRecipe, tree["graph"], "graph").load(root), build(model.Config, model_tree, "model")


def epoch_of(model: MetaPathEmbedder) -> Callable[[], None]:
    """One full-batch update."""
    batch = NodeBatch(torch.arange(model.inputs.num_nodes))
    optimizer = torch.optim.Adam(model.parameters(), lr=7e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(model(batch, "all").values())).sum().backward()
        optimizer.step()

    return step


def meow_ours(root: Path) -> dict[str, float]:
    """One epoch of MEOW on ACM."""
    data, config = load("acm-meow", root)
    before = peak_mib()
    torch.manual_seed(0)
    return timed(epoch_of(MEOW(data, config)), 5, before)


def meow_dense(root: Path) -> dict[str, float]:
    """The same from dense matrices."""
    data, config = load("acm-meow", root)
    before = peak_mib()
    torch.manual_seed(0)
    model = dense_meow.DenseMEOW(MEOW(data, config))
    return timed(model.step, 3, before)


def pair_ours(root: Path) -> dict[str, float]:
    """AdaMEOW's loss and gradients, N = 2000, d = 64, 16 hidden units."""
    loss, v, u = pair_loss(PAIRS)
    return timed(lambda: loss(v, u).backward(), 5, peak_mib())


def pair_dense(root: Path) -> dict[str, float]:
    """The same from the sums of all pairs, [N, N, 64]."""
    loss, v, u = pair_loss(PAIRS)
    net: Any = loss.weight_net
    return timed(lambda: dense_meow.pair_loss(net, v, u).backward(), 2, peak_mib())


def pair_loss(count: int) -> tuple[AdaptiveInfoNCE, Tensor, Tensor]:
    """The objective and random unit rows."""
    torch.manual_seed(0)
    v, u = (F.normalize(torch.randn(count, 64), dim=1).requires_grad_() for _ in "vu")
    return AdaptiveInfoNCE(PairWeights(64, 16), 1.0, similarity=dot), v, u


def adameow_ours(root: Path) -> dict[str, float]:
    """One epoch of AdaMEOW on ACM, N = 4019."""
    data, config = load("acm-adameow", root)
    before = peak_mib()
    torch.manual_seed(0)
    return timed(epoch_of(AdaMEOW(data, config)), 3, before)


def preprocessing(root: Path) -> dict[str, float]:
    """From DBLP's edges to everything that MEOW reads."""
    data, config = load("dblp-meow", root)
    before, started = peak_mib(), time.process_time()
    MEOW(data, config)
    return {"cpu_seconds": time.process_time() - started, "mib": peak_mib() - before}


def probe(root: Path) -> dict[str, float]:
    """Fifty probes of one ratio on ACM."""
    data, _ = load("acm-meow", root)
    store = data[data.target_type]
    z = torch.randn(store.num_nodes, 64, generator=torch.Generator().manual_seed(0))
    before, started = peak_mib(), time.process_time()
    linear_probe(z, store.y, store.splits[60], probe=Probe(), generator=torch.Generator().manual_seed(0))
    return {"cpu_seconds": time.process_time() - started, "mib": peak_mib() - before}


def synthetic(num_nodes: int) -> HeteroData:
    """Papers, as many authors, 60 subjects; nine authors' edges and one subject per paper: ten edges a paper."""
    generator = torch.Generator().manual_seed(0)
    data = HeteroData()
    data["paper"].x = torch.randn(num_nodes, 32, generator=generator)
    data["author"].x = torch.randn(num_nodes, 16, generator=generator)
    data["subject"].num_nodes = 60
    papers = torch.arange(num_nodes)
    writer = torch.randint(num_nodes, (9 * num_nodes,), generator=generator)
    data["paper", "to", "author"].edge_index = torch.stack([papers.repeat(9), writer])
    subject = torch.randint(60, (num_nodes,), generator=generator)
    data["paper", "to", "subject"].edge_index = torch.stack([papers, subject])
    data.target_type = "paper"
    return data


def scale(num_nodes: int, kind: str) -> Callable[[Path], dict[str, float]]:
    """Build and train some steps of sampled neighbours and in-batch negatives."""

    def run(root: Path) -> dict[str, float]:
        data = synthetic(num_nodes)
        started = time.process_time()
        common: dict[str, Any] = {
            "metapaths": ("paper-author-paper", "paper-subject-paper"),
            "n_neighbors": (10,),
            "n_walks": 10,
            "fan_out": 5,
        }
        torch.manual_seed(0)
        model: MetaPathEmbedder = (
            MEOW(data, MEOW.Config(**common, n_clusters=(50, 100)))
            if kind == "meow"
            else AdaMEOW(data, AdaMEOW.Config(**common))
        )
        built = time.process_time() - started
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        seconds, losses = [], []
        batches = model.sampler().batches(2048, torch.Generator().manual_seed(0))
        for batch, _ in zip(batches, range(5), strict=False):
            started = time.process_time()
            optimizer.zero_grad(set_to_none=True)
            loss = torch.stack(list(model(batch, "all").values())).sum()
            loss.backward()
            optimizer.step()
            seconds.append(time.process_time() - started)
            losses.append(float(loss.detach()))
        return {
            "build_cpu_seconds": built,
            "step_cpu_seconds": float(np.median(seconds)),
            "peak_gib": peak_mib() / 1024,
            "first_loss": losses[0],
            "last_loss": losses[-1],
        }

    return run


MEASUREMENTS: dict[str, Callable[[Path], dict[str, float]]] = {
    "meow_ours": meow_ours,
    "meow_dense": meow_dense,
    "pair_ours": pair_ours,
    "pair_dense": pair_dense,
    "adameow_ours": adameow_ours,
    "preprocessing": preprocessing,
    "probe": probe,
    **{f"scale_{kind}_{n}": scale(n, kind) for n in (10**4, 10**5, 10**6) for kind in ("meow", "adameow")},
}


if __name__ == "__main__":
    typer.run(main)
