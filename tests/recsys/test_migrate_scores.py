"""Imported weights score as the authors' models do, computed apart; what does not fit is refused."""

import gzip
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from official import official
from torch import Tensor

from graphcl.errors import InputError
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.evaluation.metrics import per_user
from recsys.migrate import import_run, read_official
from recsys.models import MODELS
from recsys.models.sequence import SequenceRecommender

METHODS = ["icsrec", "icsrec-gru", "mclrec"]
ITEMS = 37
DATA = Path(os.environ.get("GRAPHCL_DATA", "absent"))
FILES = {
    "amazon-sports-5core": "Sports_and_Outdoors",
    "amazon-toys-5core": "Toys_and_Games",
    "yelp-mclrec": "Yelp",
}


def data(item_ids: tuple[str, ...] | None = None) -> Interactions:
    item = torch.arange(ITEMS)
    return Interactions(user=item % 3, item=item, num_users=3, num_items=ITEMS, item_ids=item_ids)


def adopted(method: str, state: dict[str, Tensor], path: Path, train: Interactions) -> SequenceRecommender:
    torch.save({"state_dict": state}, path)
    kind = method.removesuffix("-gru")
    read = read_official(kind, path, train)
    model = MODELS[read.kind](train, MODELS[read.kind].Config(**read.config)).eval()
    read.adopt(model)
    assert isinstance(model, SequenceRecommender)
    return model


def histories(longest: int, count: int = 40) -> list[list[int]]:
    """Rows of items from 1, some longer than what is read, some of one item."""
    draw = random.Random(0)
    rows = [[draw.randint(1, ITEMS) for _ in range(draw.randint(1, longest))] for _ in range(count)]
    return [[1], [ITEMS], [draw.randint(1, ITEMS) for _ in range(50)], *rows]


@pytest.mark.parametrize(("method", "values"), [("icsrec", 877_888), ("icsrec-gru", 856_576), ("mclrec", 877_888)])
def test_the_comparison_has_the_size_of_the_authors_models(method: str, values: int) -> None:
    """Amazon Beauty, 12,101 items."""
    assert sum(value.numel() for value in official(method, 12_101).state_dict().values()) == values


@pytest.mark.parametrize(
    ("method", "length"), [("icsrec", 50), ("icsrec", 20), ("icsrec-gru", 50), ("mclrec", 50), ("mclrec", 20)]
)
def test_scores_are_the_authors(tmp_path: Path, method: str, length: int) -> None:
    theirs = official(method, ITEMS, size=16, length=length)
    names = [str(number) for number in range(1, ITEMS + 1)]
    random.Random(1).shuffle(names)
    rows = histories(80)
    for ids in (None, tuple(names)):
        model = adopted(method, theirs.state_dict(), tmp_path / "c.pt", data(ids))
        number = {name: place for place, name in enumerate(ids)} if ids else {str(i + 1): i for i in range(ITEMS)}
        index = model.index()
        asked = Ragged.of([[number[str(item)] for item in row] for row in rows])
        scores = index.score(torch.full((len(rows),), -1), asked)
        ours = scores[:, [number[str(item)] for item in range(1, ITEMS + 1)]]
        torch.testing.assert_close(ours, theirs.scores(rows), rtol=1e-4, atol=1e-4)


def spoiled(state: dict[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Each parameter missing, flat, longer in each dimension, or not finite."""
    for name, value in state.items():
        yield f"no {name}", {key: other for key, other in state.items() if key != name}
        yield f"flat {name}", state | {name: value.flatten()[0]}
        yield f"NaN in {name}", state | {name: torch.full_like(value, torch.nan)}
        for dimension in range(value.dim()):
            longer = torch.cat([value, value.narrow(dimension, 0, 1)], dimension)
            if not (name.startswith("position") and dimension == 0):  # that is a checkpoint of another length
                yield f"{name} longer in dimension {dimension}", state | {name: longer}


@pytest.mark.parametrize("method", METHODS)
def test_whatever_does_not_fit_is_refused(tmp_path: Path, method: str) -> None:
    for what, state in spoiled(official(method, ITEMS, size=8, length=50).state_dict()):
        try:
            adopted(method, state, tmp_path / "c.pt", data())
        except InputError:
            continue
        pytest.fail(f"accepted: {what}")


def test_names_of_a_model_on_several_devices(tmp_path: Path) -> None:
    theirs = official("mclrec", ITEMS, size=8)
    model = adopted("mclrec", {f"module.{k}": v for k, v in theirs.state_dict().items()}, tmp_path / "c.pt", data())
    asked = Ragged.of([[0, 1, 2]])
    torch.testing.assert_close(model.index().score(torch.tensor([-1]), asked), theirs.scores([[1, 2, 3]]))


class Config:
    """Stands for the settings that RecBole puts beside the weights."""


def test_a_file_with_other_objects_says_how_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    torch.save({"config": Config(), "epoch": 3, "state_dict": official("mclrec", ITEMS).state_dict()}, path)
    with pytest.raises(InputError, match="save its state_dict alone: see docs/sequences"):
        read_official("mclrec", path, data())
    # the way that the page describes
    torch.save(torch.load(path, weights_only=False)["state_dict"], path)
    assert read_official("mclrec", path, data()).config["max_length"] == 50


def test_plain_values_beside_the_weights_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "c.pth"
    state = official("mclrec", ITEMS).state_dict()
    torch.save({"epoch": 3, "best_valid_score": 0.1, "state_dict": state, "optimizer": {"state": {}}}, path)
    assert read_official("mclrec", path, data()).config["embedding_size"] == 64


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "dataset"),
    [("icsrec-gru", "amazon-toys-5core"), ("mclrec", "amazon-sports-5core"), ("mclrec", "yelp-mclrec")],
)
def test_a_run_of_real_data_scores_and_ranks_as_the_authors_do(tmp_path: Path, method: str, dataset: str) -> None:
    """The first users of the published file, read apart from the library: scores, and the rank of the answer."""
    source = DATA / dataset / f"{FILES[dataset]}.txt.gz"
    if not source.is_file():
        pytest.skip(f"GRAPHCL_DATA holds no {dataset}")
    with gzip.open(source, "rt") as lines:
        users = [[int(item) for item in line.split()] for line in lines]
    num_items = max(max(items) for _, *items in users)
    theirs = official(method, num_items)
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "c.pth")
    run = import_run(method.removesuffix("-gru"), tmp_path / "c.pth", dataset, tmp_path / "run")
    hit = per_user(run.experiment.rank(run.model, run.split, "test", ["hit@20"], mask_history=False), ["hit@20"])
    assert run.split.test.user_ids is not None
    place = {name: number for number, name in enumerate(run.split.test.user_ids)}
    chosen = users[:300]
    scores = theirs.scores([items[:-1] for _, *items in chosen])
    answers = torch.tensor([items[-1] for _, *items in chosen])
    above = (scores > scores.gather(1, answers[:, None] - 1)).sum(1)
    found = [bool(hit["hit@20"][place[str(user)]]) for user, *_ in chosen]
    assert found == (above < 20).tolist()
