"""Hand-counted slices."""

import pytest
import torch

from recsys.data.interactions import Interactions, Split
from recsys.evaluation.ranking import Ranking
from recsys.evaluation.slices import QUARTERS, THIRDS, quarter_of, slices, third_of


def events(pairs, num_users=4, num_items=5):
    user, item = zip(*pairs, strict=True) if pairs else ((), ())
    return Interactions(
        user=torch.tensor(user, dtype=torch.long),
        item=torch.tensor(item, dtype=torch.long),
        num_users=num_users,
        num_items=num_items,
    )


def test_equals_stay_together():
    assert quarter_of(torch.tensor([3, 3, 3, 9])).tolist() == [0, 0, 0, 3]
    assert quarter_of(torch.tensor([5, 1, 7, 3, 2, 8, 6, 4])).tolist() == [2, 0, 3, 1, 0, 3, 2, 1]
    assert third_of(torch.tensor([2, 2, 2, 0])).tolist() == [0, 0, 0, 2]
    assert third_of(torch.tensor([3, 3, 1, 1, 1, 0])).tolist() == [0, 0, 2, 2, 2, 2]
    assert third_of(torch.tensor([1, 4, 3, 2])).tolist() == [2, 0, 1, 2]
    assert third_of(torch.zeros(3, dtype=torch.long)).tolist() == [2, 2, 2]


def test_no_item_depends_on_the_order_of_ids():
    counts = torch.randint(0, 20, (200,), generator=torch.Generator().manual_seed(0))
    order = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    assert torch.equal(third_of(counts)[order], third_of(counts[order]))
    assert torch.equal(quarter_of(counts)[order], quarter_of(counts[order]))


def test_hand_counted():
    # items: 0 has 4 events, 1 has 3, 2 has 2, 3 and 4 none -> head, middle, tail, tail, tail
    train = events([(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2)])
    test = events([(0, 1), (0, 2), (1, 2), (3, 4), (3, 4)])
    ranking = Ranking(
        users=torch.tensor([0, 1, 3]),
        items=torch.tensor([[1, 2], [2, 3], [3, 5]]),
        hit=torch.tensor([[True, True], [True, False], [False, False]]),
        relevant=torch.tensor([2, 1, 1]),
        num_items=5,
        k=2,
        mask_history=True,
        repeats="masked",
        num_candidates=5,
        cold_users=0,
        cold_items=1,
    )
    found = slices(ranking, Split(train, events([]), test), ["recall@1", "recall@2"])
    assert list(found) == [QUARTERS[0], QUARTERS[1], QUARTERS[2], *THIRDS]
    assert found["users 1/4"] == {"users": 1, "fewest": 1, "most": 1, "recall@1": 0.5, "recall@2": 1}
    assert found["users 3/4"] == {"users": 1, "fewest": 3, "most": 3, "recall@1": 0, "recall@2": 0}
    assert found["items head"] == {  # nobody's answer: its recall is nothing by nothing
        "items": 1,
        "truth": 0,
        "hits@1": 0,
        "shown@1": 0,
        "hits@2": 0,
        "shown@2": 0,
    }
    middle, tail = found["items middle"], found["items tail"]
    assert (middle["items"], middle["truth"], middle["recall@1"]) == (1, 1 / 4, 1)
    assert (middle["hits@1"], middle["hits@2"], middle["shown@2"]) == pytest.approx((1 / 2, 1 / 3, 1 / 5))
    assert (tail["items"], tail["truth"]) == (3, 3 / 4)
    assert (tail["recall@1"], tail["recall@2"]) == pytest.approx((1 / 3, 2 / 3))
    assert (tail["hits@2"], tail["shown@2"]) == pytest.approx((2 / 3, 4 / 5))
