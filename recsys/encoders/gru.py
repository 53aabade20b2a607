"""The gated recurrent encoder of GRU4Rec (Hidasi et al., ICLR 2016), as in RecBole and ICSRec."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from recsys.data.ragged import offsets_of
from recsys.encoders.base import SequenceEncoder
from recsys.encoders.dropout import Dropout


class GRUEncoder(SequenceEncoder):
    """Dropout, stacked GRUs without biases, then a linear map back to the size of an embedding.

    With `start`, a vector [d], every row begins in the state that `max_length - length` steps over that vector leave:
    what a GRU computes on rows left-padded with it, at the cost of one extra row. In training that row's dropout is
    drawn once a pass and shared by all rows, where padding would have its own in each. `hidden` entries are read as
    the vectors they are: a recurrent state has no other way to pass over them.
    """

    def __init__(
        self, embedding_size: int, *, n_layers: int, hidden_size: int, max_length: int, hidden_dropout: float
    ) -> None:
        super().__init__()
        self.max_length = max_length
        self.dropout = Dropout(hidden_dropout)
        self.layers = nn.ModuleList(
            nn.GRU(embedding_size if layer == 0 else hidden_size, hidden_size, bias=False) for layer in range(n_layers)
        )
        self.output = nn.Linear(hidden_size, embedding_size)

    def forward(self, x: Tensor, offsets: Tensor, hidden: Tensor | None = None, start: Tensor | None = None) -> Tensor:
        """[n, d] -> [R, d]; see `SequenceEncoder`."""
        _, last = self.run(self.dropout(x), TimeMajor(offsets), start)
        return self.output(last)

    def every(self, x: Tensor, offsets: Tensor, start: Tensor | None = None) -> Tensor:
        """[n, d] -> [n, d]; see `SequenceEncoder`."""
        order = TimeMajor(offsets)
        states, _ = self.run(self.dropout(x), order, start)
        return order.unpack(self.output(states.data))

    def run(self, x: Tensor, order: "TimeMajor", start: Tensor | None) -> tuple[PackedSequence, Tensor]:
        """All states, packed, and the last one of each row [R, hidden]."""
        states = order.pack(x)
        padding = None if start is None else self.dropout(start.expand(self.max_length, -1))
        last = x
        for layer in self.layers:
            assert isinstance(layer, nn.GRU)
            layer.flatten_parameters()  # one piece of memory on a GPU, whoever moved or replaced the weights
            begin = None
            if padding is not None:
                padding, _ = layer(padding)
                trail = torch.cat([padding.new_zeros(1, padding.shape[1]), padding])
                begin = trail[self.max_length - order.lengths].unsqueeze(0)
            states, final = layer(states, begin)
            last = final[0]
        return states, last


class TimeMajor:
    """The order in which a recurrent network reads ragged rows: first entries first, longest row on top."""

    def __init__(self, offsets: Tensor) -> None:
        self.lengths = offsets.diff()
        falling, self.rows = self.lengths.sort(descending=True, stable=True)
        steps = torch.arange(int(falling[0]), device=offsets.device)
        sizes = torch.searchsorted(-falling, -steps)
        step = torch.repeat_interleave(sizes)
        column = torch.arange(step.numel(), device=offsets.device) - offsets_of(sizes)[step]
        self.entry = offsets[self.rows[column]] + step
        self.sizes = sizes.cpu()

    def pack(self, x: Tensor) -> PackedSequence:
        """[n, d] in the order of the rows -> packed."""
        return PackedSequence(x[self.entry], self.sizes, self.rows, self.rows.argsort())

    def unpack(self, x: Tensor) -> Tensor:
        """Packed [n, d] -> in the order of the rows."""
        return torch.empty_like(x).index_copy(0, self.entry, x)
