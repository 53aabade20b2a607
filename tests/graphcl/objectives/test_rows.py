import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.objectives import Index
from graphcl.objectives.rows import EachPositive, MeanPositive
from graphcl.objectives.weights import Exclude


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    kind=st.sampled_from([MeanPositive, EachPositive]),
    num_anchors=st.integers(1, 6),
    num_candidates=st.integers(1, 6),
    num_exclusions=st.integers(0, 2),
    queue=st.sampled_from([None, 0, 3]),
)
def test_negatives_are_counted_as_the_kernel_would(data, kind, num_anchors, num_candidates, num_exclusions, queue):
    """One candidate may be left out twice, or none (-1), or all of them."""

    def columns():
        return torch.tensor(
            data.draw(st.lists(st.integers(-1, num_candidates - 1), min_size=num_anchors, max_size=num_anchors))
        )

    rows = kind(
        x=torch.randn(num_anchors, 4, dtype=torch.float64),
        y=torch.randn(num_candidates, 4, dtype=torch.float64),
        positives=Index(columns(), num_candidates),
        terms=[Exclude(columns()) for _ in range(num_exclusions)],
        queue=None if queue is None else torch.randn(queue, 4, dtype=torch.float64),
        tau=torch.tensor(1.0),
    )
    torch.testing.assert_close(rows.log_count(), rows.negatives(scale=0.0))
