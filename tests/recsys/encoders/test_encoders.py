"""Encoders that skip padding equal the padded computation, and nothing leaks backwards."""

import itertools
import math
import resource
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graphcl.errors import InputError
from recsys.data.ragged import Ragged, offsets_of
from recsys.encoders import GRUEncoder, TransformerEncoder
from recsys.encoders.dropout import Dropout, kept
from recsys.encoders.layout import Layout, split_by_length
from recsys.encoders.transformer import FeedForward

LENGTH, SIZE = 9, 8


def transformer(positions: str = "oldest", n_layers: int = 2) -> TransformerEncoder:
    torch.manual_seed(0)
    encoder = TransformerEncoder(
        SIZE,
        n_layers=n_layers,
        n_heads=2,
        inner_size=12,
        max_length=LENGTH,
        hidden_dropout=0.5,
        attention_dropout=0.5,
        positions=positions,  # type: ignore[arg-type]
    )
    return encoder.double().eval()


def gru(n_layers: int = 2) -> GRUEncoder:
    torch.manual_seed(0)
    return GRUEncoder(SIZE, n_layers=n_layers, hidden_size=6, max_length=LENGTH, hidden_dropout=0.5).double().eval()


def padded_transformer(encoder: TransformerEncoder, x: Tensor, real: Tensor, shown: Tensor) -> Tensor:
    """The textbook computation on [B, L, d] with an additive mask of -10000: every position, padding included."""
    B, L, d = x.shape
    heads = encoder.layers[0].attention.n_heads
    h = encoder.norm(x + encoder.positions.weight)
    causal = torch.ones(L, L, dtype=torch.bool).tril()
    mask = torch.where(causal & (real & shown)[:, None], 0.0, -10000.0)[:, None]
    for layer in encoder.layers:
        a, f = layer.attention, layer.feed_forward
        q, k, v = (m(h).view(B, L, heads, -1).transpose(1, 2) for m in (a.query, a.key, a.value))
        weight = (q @ k.transpose(2, 3) / math.sqrt(d / heads) + mask).softmax(-1)
        h = a.norm(h + a.output((weight @ v).transpose(1, 2).reshape(B, L, d)))
        h = f.norm(h + f.output(F.gelu(f.inner(h))))
    return h


def ragged_rows(lengths: list[int]) -> tuple[Tensor, Tensor]:
    offsets = offsets_of(torch.tensor(lengths))
    return torch.randn(int(offsets[-1]), SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), offsets


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, LENGTH), min_size=1, max_size=80), st.sampled_from(["oldest", "newest"]))
def test_transformer_equals_the_padded_computation(lengths: list[int], positions: str) -> None:
    encoder, (x, offsets) = transformer(positions), ragged_rows(lengths)
    left = positions == "newest"
    index = Ragged(torch.arange(len(x)), offsets).padded(-1, left=left)
    index = F.pad(index, (LENGTH - index.shape[1], 0) if left else (0, LENGTH - index.shape[1]), value=-1)
    real = index >= 0
    states = padded_transformer(encoder, x[index.clamp(min=0)], real, torch.ones_like(real))
    torch.testing.assert_close(encoder.every(x, offsets), states[real], rtol=0, atol=1e-12)
    torch.testing.assert_close(encoder(x, offsets), encoder.every(x, offsets)[offsets[1:] - 1], rtol=0, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_hidden_entries_are_not_seen(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, LENGTH), min_size=1, max_size=60))
    encoder, (x, offsets) = transformer(), ragged_rows(lengths)
    hidden = torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(x), max_size=len(x))))
    hidden[offsets[:-1]] = False  # one entry of each row stays, as in every view of the authors
    index = Ragged(torch.arange(len(x)), offsets).padded(-1)
    index = F.pad(index, (0, LENGTH - index.shape[1]), value=-1)
    real, shown = index >= 0, ~hidden[index.clamp(min=0)]
    states = padded_transformer(encoder, x[index.clamp(min=0)], real, shown)
    last = states[torch.arange(len(lengths)), torch.tensor(lengths) - 1]
    torch.testing.assert_close(encoder(x, offsets, hidden), last, rtol=0, atol=1e-12)
    moved = torch.where(hidden[:, None], x + 1, x)
    keep = ~hidden[offsets[1:] - 1]
    torch.testing.assert_close(encoder(moved, offsets, hidden)[keep], last[keep], rtol=0, atol=1e-12)


def test_a_row_that_is_hidden_altogether_has_finite_states_and_gradients() -> None:
    encoder, (x, offsets) = transformer(), ragged_rows([1, 4, 4, 3])
    x.requires_grad_()
    out = encoder(x, offsets, torch.ones(len(x), dtype=torch.bool))
    out.square().sum().backward()
    assert torch.isfinite(out).all() and x.grad is not None and torch.isfinite(x.grad).all()


@pytest.mark.parametrize("n_layers", [1, 2])
def test_gru_equals_one_row_at_a_time(n_layers: int) -> None:
    encoder, (x, offsets) = gru(n_layers), ragged_rows([3, 1, 9, 9, 2, 5, 1])
    every = encoder.every(x, offsets)
    for r in range(offsets.numel() - 1):
        h = x[offsets[r] : offsets[r + 1]]
        for layer in encoder.layers:
            h, _ = layer(h)
        torch.testing.assert_close(every[offsets[r] : offsets[r + 1]], encoder.output(h), rtol=0, atol=1e-12)
    torch.testing.assert_close(encoder(x, offsets), every[offsets[1:] - 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_layers", [1, 2])
def test_gru_starts_as_if_rows_were_padded_on_the_left(n_layers: int) -> None:
    encoder, (x, offsets) = gru(n_layers), ragged_rows([3, 1, 9, 2])
    start = torch.ones(SIZE, dtype=torch.float64)
    lengths = offsets.diff()
    padded = torch.cat([torch.cat([start.expand(LENGTH - len(row), -1), row]) for row in x.split(lengths.tolist())])
    expected = encoder(padded, torch.arange(len(lengths) + 1) * LENGTH)
    torch.testing.assert_close(encoder(x, offsets, start=start), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("encoder", [transformer(), transformer("newest"), gru()])
def test_gradients_equal_those_of_single_rows(encoder: TransformerEncoder | GRUEncoder) -> None:
    x, offsets = ragged_rows([2, 7, 7, 1, 4])
    x.requires_grad_()
    encoder(x, offsets).square().sum().backward()
    together, x.grad = x.grad, None
    for a, b in itertools.pairwise(offsets.tolist()):
        encoder(x[a:b], torch.tensor([0, b - a])).square().sum().backward()
    torch.testing.assert_close(together, x.grad, rtol=0, atol=1e-11)


@given(st.lists(st.integers(1, 130), min_size=1, max_size=300))
@settings(max_examples=50, deadline=None)
def test_layout_has_one_slot_per_entry(lengths: list[int]) -> None:
    layout = Layout.of(offsets_of(torch.tensor(lengths)))
    assert layout.slot.unique().numel() == sum(lengths) <= layout.size
    assert sum(block.rows for block in layout.blocks) == len(lengths)
    ends = offsets_of(torch.tensor(lengths))[1:] - 1
    assert torch.equal(layout.last[layout.place], layout.slot[ends])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=9), st.integers(0, 30))
def test_no_other_cut_costs_less(lengths: list[int], cost: int) -> None:
    rising = sorted(lengths)

    def total(blocks: list[list[int]]) -> int:
        return sum(len(block) * block[-1] + cost for block in blocks)

    found = [rows.tolist() for rows in split_by_length(torch.tensor(rising), cost)]
    assert [length for block in found for length in block] == rising
    for cuts in itertools.product([False, True], repeat=len(rising) - 1):
        ends = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), len(rising)]
        assert total(found) <= total([rising[a:b] for a, b in itertools.pairwise(ends)])


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_dropout_keeps_the_share_and_the_mean(p: float) -> None:
    torch.manual_seed(3)
    factors = kept(torch.empty(400, 1001), p)
    share = (factors > 0).double().mean(0)
    assert abs(float(share.mean()) - (1 - p)) < 4 * math.sqrt(p * (1 - p) / factors.numel())
    assert float((share - (1 - p)).abs().max()) < 6 * math.sqrt(p * (1 - p) / 400)  # no column is favoured
    assert abs(float(factors.double().mean()) - 1) < 0.02
    lagged = ((factors[:, 4:] > 0) == (factors[:, :-4] > 0)).double().mean()
    assert abs(float(lagged) - (p * p + (1 - p) ** 2)) < 0.01


def test_dropout_rests_in_evaluation() -> None:
    x = torch.randn(5, 5)
    assert Dropout(0.5).eval()(x) is x and Dropout(0.0)(x) is x
    assert not torch.equal(Dropout(0.5)(x), x)


def test_heads_must_divide_the_size() -> None:
    with pytest.raises(InputError, match="multiple of n_heads"):
        TransformerEncoder(
            10, n_layers=1, n_heads=3, inner_size=4, max_length=4, hidden_dropout=0.0, attention_dropout=0.0
        )


def resident_megabytes() -> float:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize() / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell the resident size")
def test_memory_does_not_grow_with_every_new_shape() -> None:
    """Libraries that compile code for each shape keep it, and what it works on: gigabytes over an epoch."""
    layer = FeedForward(8, 64, 0.0)

    def passes(shapes: range) -> None:
        for rows in shapes:
            layer(torch.randn(rows, 8)).sum().backward()

    passes(range(1000, 1030))
    before = resident_megabytes()
    passes(range(1030, 1330))
    assert resident_megabytes() - before < 20
