"""Authors' checkpoints: read, checked, and refused with a reason."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from graphcl.errors import InputError
from recsys.data.catalog import load_split
from recsys.data.interactions import Interactions
from recsys.data.ragged import Ragged
from recsys.evaluation.metrics import measure
from recsys.evaluation.ranking import rank
from recsys.migrate import official_rows, read_official
from recsys.models.icsrec import ICSRec
from recsys.models.mclrec import MCLRec

GOLDEN = Path(__file__).parent.parent / "golden"
ITEMS = {"icsrec": 41, "mclrec": 10}


def data(num_items: int) -> Interactions:
    item = torch.arange(num_items)
    return Interactions(user=item % 3, item=item, num_users=3, num_items=num_items)


def golden_state(kind: str, prefix: str) -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / f"{kind}.npz") as stored:
        names = [name for name in stored.files if name.startswith(prefix)]
        return {name.removeprefix(prefix): torch.from_numpy(stored[name]) for name in names}


def saved(path: Path, value: object) -> Path:
    torch.save(value, path)
    return path


@pytest.mark.parametrize(
    ("kind", "prefix", "model", "expected"),
    [
        ("icsrec", "sas/param/", ICSRec, {"embedding_size": 12, "max_length": 8, "inner_size": 48, "n_layers": 2}),
        ("icsrec", "gru/param/", ICSRec, {"encoder": "gru", "hidden_size": 24, "n_layers": 1, "gru_start": "padding"}),
        ("mclrec", "param/encoder/", MCLRec, {"embedding_size": 4, "max_length": 6, "inner_size": 6, "n_layers": 2}),
    ],
)
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_checkpoint_becomes_a_model(tmp_path, kind, prefix, model, expected, wrapped) -> None:
    state = golden_state(kind, prefix)
    train = data(ITEMS[kind])
    official = read_official(kind, saved(tmp_path / "c.pt", {"state_dict": state} if wrapped else state), train)
    assert expected.items() <= official.config.items()
    heads = {"n_heads": 2} if kind == "mclrec" else {"n_heads": 3}
    built = model(train, model.Config(**official.config, **heads))
    official.adopt(built)
    table = next(value for name, value in state.items() if name.startswith("item_embedding")).float()
    assert torch.equal(built.items.weight[0], table[1]) and torch.equal(built.items.weight[-2], table[0])
    assert torch.isfinite(built.index().score(torch.tensor([0]), Ragged.of([[1, 2]]))).all()


def test_rows_follow_the_names_of_items() -> None:
    named = replace(data(4), item_ids=("3", "1", "4", "2"))
    assert official_rows("icsrec", named).tolist() == [3, 1, 4, 2]
    with pytest.raises(InputError, match="named 1 to 4"):
        official_rows("icsrec", replace(named, item_ids=("3", "1", "5", "2")))
    with pytest.raises(InputError, match="named 1 to 4"):
        official_rows("icsrec", replace(named, item_ids=("a", "b", "c", "d")))


def test_another_data_set_is_refused(tmp_path) -> None:
    path = saved(tmp_path / "c.pt", golden_state("icsrec", "sas/param/"))
    with pytest.raises(InputError, match=r"41 items, padding and mask, but the data set has 40"):
        read_official("icsrec", path, data(40))


def test_another_method_is_refused(tmp_path) -> None:
    path = saved(tmp_path / "c.pt", golden_state("mclrec", "param/encoder/"))
    with pytest.raises(InputError, match="checkpoint of another method"):
        read_official("icsrec", path, data(10))
    with pytest.raises(InputError, match="choose one of icsrec, mclrec"):
        read_official("bert", path, data(10))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 broken"])
def test_a_broken_file_is_refused(tmp_path, content) -> None:
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(InputError, match="no checkpoint of plain tensors"):
        read_official("icsrec", tmp_path / "c.pt", data(41))


def test_a_file_that_runs_code_is_refused(tmp_path) -> None:
    class Surprise:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    path = saved(tmp_path / "c.pt", {"state_dict": Surprise()})
    with pytest.raises(InputError, match="no checkpoint of plain tensors"):
        read_official("icsrec", path, data(41))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [[1, 2], {}, {"state_dict": {"a": 1}}, torch.zeros(3)])
def test_a_file_without_a_table_is_refused(tmp_path, content) -> None:
    with pytest.raises(InputError, match="no table of tensors"):
        read_official("icsrec", saved(tmp_path / "c.pt", content), data(41))


def test_an_incomplete_or_misshapen_checkpoint_is_refused(tmp_path) -> None:
    state, train = golden_state("icsrec", "sas/param/"), data(41)
    lacking = {name: value for name, value in state.items() if "layer.1.attention.query" not in name}
    official = read_official("icsrec", saved(tmp_path / "a.pt", lacking), train)
    model = ICSRec(train, ICSRec.Config(**official.config, n_heads=3))
    with pytest.raises(InputError, match=r"lacks encoder\.layers\.1\.attention\.query"):
        official.adopt(model)
    bent = {**state, "LayerNorm.weight": torch.ones(7)}
    with pytest.raises(InputError, match=r"encoder\.norm\.weight has shape \(7,\)"):
        read_official("icsrec", saved(tmp_path / "b.pt", bent), train).adopt(model)
    with pytest.raises(InputError, match="no table of items"):
        read_official("icsrec", saved(tmp_path / "c.pt", {"LayerNorm.weight": torch.ones(7)}), train)


@pytest.mark.slow
def test_the_published_checkpoint_gives_the_published_metrics() -> None:
    """Amazon Beauty, test part: the authors' weights, history masked and not (their own evaluation code, measured)."""
    root = Path(os.environ.get("GRAPHCL_DATA", "absent"))
    checkpoint = root / "checkpoints" / "ICSRec-SAS-Beauty-0.pt"
    if not checkpoint.is_file() or not (root / "amazon-beauty-5core").is_dir():
        pytest.skip("GRAPHCL_DATA holds no checkpoint or no Amazon Beauty")
    split = load_split("amazon-beauty-5core", split={"kind": "leave_one_out"})
    official = read_official("icsrec", checkpoint, split.train)
    model = ICSRec(split.train, ICSRec.Config(**official.config))
    official.adopt(model)
    names = [f"{metric}@{k}" for k in (5, 10, 20) for metric in ("hit", "ndcg")]
    expected = {
        True: [0.069758, 0.049435, 0.095962, 0.057851, 0.129768, 0.066343],
        False: [0.057908, 0.035429, 0.087689, 0.045043, 0.123284, 0.054023],
    }
    for masked, published in expected.items():
        ranking = rank(model.index(), split.train + split.valid, split.test, 20, mask_history=masked)
        assert list(measure(ranking, names).values()) == pytest.approx(published, abs=1e-6)
