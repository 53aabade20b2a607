"""Speed and memory of the meta-path models, beside a literal dense re-statement, each in a process of its own."""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from torch import Tensor
from torch_geometric.data import HeteroData

from benchmarks import dense_meow
from benchmarks.speed_result import Measured, Out, publish
from graphcl.data.recipe import GraphRecipe
from graphcl.evaluation.probe import Probe, linear_probe
from graphcl.models import MEOW, AdaMEOW
from graphcl.models.base import NodeBatch
from graphcl.models.metapath import MetaPathEmbedder
from graphcl.objectives import AdaptiveInfoNCE, PairMLP, dot
from recsys.config import build, read

CONFIGS = Path(__file__).parent / "configs" / "metapath"
SIZES = (10**4, 10**5, 10**6)
Task = Callable[[Path], dict[str, float]]
"""From the folder of the data sets to what was measured."""
PAIRS = 2000
"""Rows for the pair weights: the dense form of ACM's 4019 needs some 20 GB."""
NOTE = (
    "Seconds are CPU seconds of one thread; memory is what the largest resident set grew by over a process with the "
    "data read. Dense is what the authors' code does: every graph, context and feature table a dense matrix, N x N "
    "weights and similarities, N x N x d sums for AdaMEOW, five restarts of k-means for each clustering and epoch. "
    "Growing graphs are synthetic, ten edges a target node: batches of 2048 nodes, sampled neighbours, negatives "
    "of the batch; memory is the peak of the process."
)


def main(
    data: Annotated[Path, typer.Option(envvar="GRAPHCL_DATA", help="folder of the data sets")], out: Out = None
) -> None:
    """MEOW and AdaMEOW beside dense matrices, and by the number of nodes."""
    tasks = [[title, *in_process(task, data).values()] for title, task in TASKS.items()]
    growth = [
        [kind, nodes, 10 * nodes, *in_process(partial(grow, nodes, kind), data).values()]
        for kind in ("meow", "adameow")
        for nodes in SIZES
    ]
    memory = {"CPU s": ".2f", "MiB": ",.0f"}
    sizes = {"model": "", "target nodes": ",", "edges": ","}
    publish(
        "metapath",
        [
            Measured("Single tasks", {"task": "", **memory}, tasks),
            Measured(
                "Growing graphs", {**sizes, "build, CPU s": ".2f", "step, CPU s": ".2f", "peak GiB": ".2f"}, growth
            ),
        ],
        NOTE,
        out,
    )


def in_process(task: Task, data: Path) -> dict[str, float]:
    """One measurement in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (task, data))


def measure(task: Task, data: Path) -> dict[str, float]:
    """Run one measurement in this process."""
    torch.set_num_threads(1)
    return task(data)


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
    return AdaptiveInfoNCE(PairMLP(64, 16), 1.0, similarity=dot), v, u


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


def grow(num_nodes: int, kind: str, root: Path) -> dict[str, float]:
    """Build and train some steps of sampled neighbours and in-batch negatives."""
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
    seconds = []
    batches = model.sampler().batches(2048, torch.Generator().manual_seed(0))
    for batch, _ in zip(batches, range(5), strict=False):
        started = time.process_time()
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(model(batch, "all").values())).sum().backward()
        optimizer.step()
        seconds.append(time.process_time() - started)
    return {"building": built, "step": statistics.median(seconds), "peak_gib": peak_mib() / 1024}


TASKS: Mapping[str, Task] = {
    "MEOW on ACM, an epoch": meow_ours,
    "the same from dense matrices": meow_dense,
    f"AdaMEOW's pair weights, loss and gradients, {PAIRS} rows": pair_ours,
    "the same from all pairs' sums": pair_dense,
    "AdaMEOW on ACM, an epoch": adameow_ours,
    "DBLP, from edges to all that MEOW reads": preprocessing,
    "fifty probes of one ratio on ACM": probe,
}
