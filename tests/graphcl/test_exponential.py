from math import inf

import pytest
import torch

from graphcl.ops import exp_


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_exponential_from_nothing_to_overflow(dtype):
    numbers = torch.finfo(dtype)
    ends = torch.tensor([numbers.tiny, numbers.max], dtype=torch.float64).log()
    x = torch.linspace(ends[0] + 1e-3, ends[1] - 1, 10001, dtype=torch.float64).to(dtype)
    error = (exp_(x.clone()) / x.double().exp() - 1).abs()
    assert (error <= (2 + x.abs()) * numbers.eps).all()
    special = torch.tensor([-inf, 0.0, inf], dtype=dtype)
    assert torch.equal(exp_(special), torch.tensor([0.0, 1.0, inf], dtype=dtype))


def test_works_in_place_on_part_of_a_table():
    table = torch.zeros(3, 4)
    part = table[:, 1:3]
    assert exp_(part) is part
    assert torch.equal(table, torch.tensor([0.0, 1.0, 1.0, 0.0]).expand(3, 4))
