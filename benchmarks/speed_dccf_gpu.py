"""A training step of DCCF on a GPU: milliseconds, and how near its parts come to what the card can do.

Contestants are the library's step, the literal one of `speed_dccf` with its products by PyG's message passing, and
that under `torch.compile`. The card's copy bandwidth and its rate of large float32 products are measured in the same
run; the parts are held against them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

import torch
import typer
from torch import Tensor
from torch_geometric.nn import LGConv

from benchmarks.speed_dccf import LOSSES_AGREE, Literal
from benchmarks.speed_objectives_gpu import matmul_rate
from benchmarks.speed_result import Measured, Out, publish
from graphcl.errors import InputError
from graphcl.objectives.fused import paired_nce
from graphcl.ops import SparseMatrix, edge_dot, spmm
from recsys.data.catalog import load_split
from recsys.data.interactions import Interactions
from recsys.data.samplers import PairSampler, Triples
from recsys.models.dccf import DCCF

Terms = Callable[[Triples], dict[str, Tensor]]


class WithPyG(Literal):
    """The literal step, its sparse products by PyG's message passing."""

    def __init__(self, model: DCCF, train: Interactions) -> None:
        super().__init__(model, train)
        self.layer = LGConv(normalize=False)
        self.edges = torch.stack([self.tail, self.head])

    def propagate(self, value: Tensor, x: Tensor) -> Tensor:
        """Sparse product."""
        product: Tensor = self.layer(x, self.edges, value)
        return product


@dataclass(frozen=True)
class Card:
    """What the card does at best."""

    bytes_per_second: float
    """Of a large copy on the card, bytes read and written."""
    operations_per_second: float
    """Of a large float32 matrix product."""

    @classmethod
    def measured(cls, size: int = 1 << 30) -> "Card":
        """Both rates, by a copy of `size` bytes and a product of 8192 x 8192."""
        source = torch.empty(size, dtype=torch.uint8, device="cuda")
        target = torch.empty_like(source)
        copy = milliseconds(lambda: target.copy_(source)) / 1000
        return cls(2 * size / copy, matmul_rate(torch.float32))


def milliseconds(work: Callable[[], object], rounds: int = 20, warm_up: int = 3) -> float:
    """The median of `rounds` times on the device, each between two events of its own."""
    for _ in range(warm_up):
        work()
    pairs = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(rounds)]
    for start, end in pairs:
        start.record()
        work()
        end.record()
    torch.cuda.synchronize()
    return float(torch.tensor([start.elapsed_time(end) for start, end in pairs]).median())


def steps(train: Interactions, batch: Triples) -> Iterable[tuple[str, float, float]]:
    """Name, milliseconds of a step (forward, backward, Adam) and its peak memory in MiB.

    Raises:
        AssertionError: the contestants' loss terms differ.
    """
    torch.manual_seed(0)
    model = DCCF(train, DCCF.Config()).cuda()
    literal = WithPyG(model, train)
    contestants: dict[str, Terms] = {
        "graphcl": lambda given: model(given, "all"),
        "eager PyG": literal,
        "PyG, torch.compile": torch.compile(literal.__call__),
    }
    values = {
        contestant: {name: float(term.detach()) for name, term in terms(batch).items()}
        for contestant, terms in contestants.items()
    }
    for contestant, found in values.items():
        for name, value in values["graphcl"].items():
            if abs(found[name] - value) > LOSSES_AGREE * abs(value):
                raise AssertionError(f"{contestant}, {name}: {found[name]}, not {value}")
    for contestant, terms in contestants.items():
        optimizer = torch.optim.Adam(model.parameters(), lr=0.0)  # the parameters stay the same for all

        def step(terms: Terms = terms, optimizer: torch.optim.Adam = optimizer) -> None:
            optimizer.zero_grad()
            torch.stack(list(terms(batch).values())).sum().backward()
            optimizer.step()

        step()
        torch.cuda.reset_peak_memory_stats()
        taken = milliseconds(step)
        yield contestant, taken, torch.cuda.max_memory_allocated() / 2**20


def products(matrix: SparseMatrix, size: int, card: Card) -> Iterable[tuple[str, float, float, float]]:
    """Name, milliseconds, and shares of the copy bandwidth: by the least bytes, and by all bytes that are gathered.

    The least is every input read once and every output written once; the rows of the dense table are gathered once an
    entry, from the cache where the card has them there.
    """
    x, y = (torch.randn(matrix.num_cols, size, device="cuda") for _ in range(2))
    pattern = 4 * (matrix.num_edges + matrix.num_rows)
    table, gathered = 4 * matrix.num_rows * size, 4 * matrix.num_edges * size
    for name, work, least, moved in (
        ("spmm", lambda: spmm(matrix, x), pattern + 4 * matrix.num_edges + 2 * table, gathered + table),
        ("edge_dot", lambda: edge_dot(matrix, x, y), pattern + 4 * matrix.num_edges + 2 * table, 2 * gathered),
    ):
        taken = milliseconds(work)
        rate = card.bytes_per_second * taken / 1000
        yield name, taken, least / rate, (moved + pattern + 4 * matrix.num_edges) / rate


def contrast(rows: int, size: int, card: Card) -> tuple[str, float, float]:
    """Name, milliseconds forward and backward, share of the rate of large products (three of 2 n n d operations)."""
    a, b = (torch.randn(rows, size, device="cuda").requires_grad_() for _ in range(2))
    taken = milliseconds(lambda: torch.autograd.grad(paired_nce(a, b, 1.0, epsilon=1e-8), (a, b)))
    return (
        f"{rows:,} x {rows:,}, d {size}",
        taken,
        6 * rows**2 * size / (card.operations_per_second * taken / 1000),
    )


def main(
    dataset: Annotated[str, typer.Option(help="entry of datasets.yaml")] = "lightgcn_gowalla",
    batch_size: Annotated[int, typer.Option(help="triples of a step")] = 10240,
    out: Out = None,
) -> None:
    """Time a DCCF step on a GPU."""
    if not torch.cuda.is_available():
        raise InputError("speed dccf-gpu: torch sees no GPU here; the step on the CPU is timed by speed dccf")
    train = load_split(dataset).train
    drawn = next(PairSampler(train, users="uniform").batches(batch_size, torch.Generator().manual_seed(0)))
    batch = Triples(*(part.cuda() for part in drawn))
    card = Card.measured()
    found = list(steps(train, batch))
    model = DCCF(train, DCCF.Config()).cuda()
    width = model.config.embedding_size
    publish(
        "dccf_gpu",
        [
            Measured(
                f"DCCF step on {dataset}, ms and MiB on the GPU",
                {"step": "", "ms": ".2f", "times ours": ".1f", "peak MiB": ".0f"},
                [(name, ms, ms / found[0][1], memory) for name, ms, memory in found],
            ),
            Measured(
                f"Sparse products, {model.adjacency.num_edges:,} entries, d {width}, and the copy bandwidth",
                {"product": "", "ms": ".3f", "by the least bytes": ".1%", "by the bytes gathered": ".1%"},
                list(products(model.adjacency, width, card)),
            ),
            Measured(
                "Contrast, forward and backward, and the rate of large float32 products",
                {"pairs": "", "ms": ".2f", "of that rate": ".1%"},
                [contrast(len(nodes), width, card) for nodes in model.nodes(batch)] + [contrast(32768, 128, card)],
            ),
        ],
        f"{torch.cuda.get_device_name()}: a copy moves {card.bytes_per_second / 1e12:.2f} TB/s, a float32 product of "
        f"8192 x 8192 runs at {card.operations_per_second / 1e12:.1f} TFLOP/s. Batch {batch_size}, defaults of the "
        f"model (d {width}, 128 intents, 2 layers), float32; medians of 20. All loss terms agree to {LOSSES_AGREE:g}.",
        out,
    )
