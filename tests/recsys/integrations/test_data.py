"""RecBole's data in our terms: every event, every id, every part."""

import numpy as np
import pytest
import torch

from graphcl.errors import InputError
from recsys.data.readers import READERS
from recsys.data.splits import LeaveOneOut
from recsys.integrations.recbole import interactions, run, running, split
from recsys.integrations.recbole.datasets import TimeWarning


def movielens():
    """The file that RecBole's package brings."""
    from pathlib import Path

    import recbole

    return Path(recbole.__path__[0]) / "dataset_example" / "ml-100k" / "ml-100k.inter"


def create(name, written, *, ours=True):
    """A data set, not yet divided."""
    with running():
        from recbole.config import Config
        from recbole.data import create_dataset

        from recsys.integrations.recbole import model_class

        return create_dataset(Config(model=model_class(name) if ours else name, config_dict=dict(written)))


def named(events):
    """[n, 3] the events with the names of their users and items, sorted."""
    user = np.array(events.user_ids)[events.user]
    item = np.array(events.item_ids)[events.item]
    return sorted(zip(user.tolist(), item.tolist(), events.time.tolist(), strict=True))


@pytest.mark.parametrize("name", ["MF", "SASRec"])
def test_a_whole_data_set_is_its_file(name, quiet):
    """100,000 events of 943 users and 1,682 items, ids shifted by RecBole's padding."""
    dataset = create(name, {**quiet, "dataset": "ml-100k", "normalize_all": False})
    events = interactions(dataset)
    assert (len(events), events.num_users, events.num_items) == (100_000, 943, 1_682)
    assert (dataset.user_num, dataset.item_num) == (944, 1_683)
    assert named(events) == named(READERS["recbole_atomic"]().read({"interactions": movielens()}))
    assert events.item_ids[41] == dataset.id2token(dataset.iid_field, 42)
    assert torch.equal(events.user, torch.as_tensor(dataset.inter_feat["user_id"].to_numpy()) - 1)
    assert events.value.min() == 1 and events.value.max() == 5


@pytest.mark.parametrize("name", ["MF", "SASRec"])
def test_a_split_has_every_event_and_is_that_of_run_recbole(name, world, prepare):
    made = prepare(name, world)
    data, again = split(made.train, made.valid, made.test), split(create(name, world))
    assert data.digest == again.digest and data.protocol == again.protocol
    assert named(data.train + data.valid + data.test) == named(interactions(create(name, world)))
    for ours, theirs in ((data.valid, made.valid), (data.test, made.test)):
        feat = theirs.dataset.inter_feat
        pairs = sorted(zip(feat["user_id"].tolist(), feat["item_id"].tolist(), strict=True))
        assert list(zip((ours.user + 1).tolist(), (ours.item + 1).tolist(), strict=True)) == pairs
    if name == "SASRec":
        by_us = LeaveOneOut().divide(interactions(create(name, world)))
        assert [named(part) for part in (data.train, data.valid, data.test)] == [
            named(part) for part in (by_us.train, by_us.valid, by_us.test)
        ]
        assert "LS" in data.protocol["split"]
    else:
        assert torch.equal(data.train.item, made.train.dataset.inter_feat["item_id"] - 1)


def test_a_split_of_recboles_own_model(world, prepare):
    made = prepare("BPR", world, ours=False)
    data = split(made.train.dataset, made.valid.dataset, made.test.dataset)
    assert [len(data.train), len(data.valid), len(data.test)] == [
        len(d) for d in (made.train.dataset, *made_parts(made))
    ]
    with pytest.raises(InputError, match="was divided by data_preparation; give the three parts"):
        split(made.dataset)
    with pytest.raises(InputError, match="takes one data set, or train, valid and test, not 2"):
        split(made.train, made.test)


def made_parts(made):
    return made.valid.dataset, made.test.dataset


def test_files_that_were_divided_before(world, tmp_path):
    """General data sets keep their parts; sequential ones hold histories only, and say so."""
    folder = tmp_path / "atomic" / "parts"
    folder.mkdir()
    head = "user_id:token\titem_id:token\n"
    parts = {"train": "a\tx\na\ty\nb\ty\n", "valid": "a\tz\n", "test": "b\tx\n"}
    for name, lines in parts.items():
        (folder / f"parts.{name}.inter").write_text(head + lines)
    written = {**world, "dataset": "parts", "benchmark_filename": list(parts), "load_col": None}
    data = split(create("MF", written))
    assert [len(data.train), len(data.valid), len(data.test)] == [3, 1, 1]
    assert (data.train.num_users, data.train.num_items) == (2, 3)
    ours = READERS["recbole_atomic"]().read({name: folder / f"parts.{name}.inter" for name in parts})
    assert [len(part) for part in (ours.train, ours.valid, ours.test)] == [3, 1, 1]
    lists = "user_id:token\titem_id_list:token_seq\titem_id:token\n"
    for name in parts:
        (folder / f"parts.{name}.inter").write_text(lists + "a\tx y\tz\nb\ty\tx\n")
    with pytest.raises(InputError, match="holds histories without their first events"):
        run("SASRec", config_dict={**written, "alias_of_item_id": ["item_id_list"]})


def test_a_user_with_one_event_is_counted(tmp_path, quiet, prepare):
    folder = tmp_path / "atomic" / "few"
    folder.mkdir(parents=True)
    rows = "a\tx\t1\na\ty\t2\na\tz\t3\nb\tx\t1\nc\ty\t1\nc\tx\t2\n"
    (folder / "few.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n" + rows)
    columns = {"inter": ["user_id", "item_id", "timestamp"]}
    written = {**quiet, "dataset": "few", "data_path": str(folder.parent), "load_col": columns}
    made = prepare("SASRec", written)
    data = split(made.train, made.valid, made.test)
    assert data.train.num_users == 3 and len(interactions(create("SASRec", written))) == 6
    assert len(data.train + data.valid + data.test) == 5
    assert sorted(data.train.histories.lengths.tolist()) == [0, 2, 2]  # c is too short to hold anything out


def test_float32_times_are_noticed_and_can_be_avoided(quiet):
    """ml-100k as other data sets are read: 15.8 % of the users would get a wrong test item."""
    last = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user"}
    written = {**quiet, "dataset": "ml-100k", "normalize_all": False, "eval_args": last}
    with pytest.warns(TimeWarning, match=r"changes the last event of 149 of 943 users .* set exact_timestamps: true"):
        wrong = split(create("MF", written))
    exact = split(create("MF", {**written, "exact_timestamps": True}))
    right = LeaveOneOut().divide(READERS["recbole_atomic"]().read({"interactions": movielens()}))
    items = [dict(zip(*names(data.test), strict=True)) for data in (right, exact, wrong)]
    assert items[0] == items[1]
    assert sum(items[0][user] != items[2][user] for user in items[0]) == 149


def test_float32_times_of_histories(tmp_path, quiet):
    """The later of two events stands first in the file, ten seconds of 1998 apart."""
    folder = tmp_path / "atomic" / "close"
    folder.mkdir(parents=True)
    times = {"c": 889751732, "d": 889751742, "b": 889751722, "a": 889751712}
    rows = "".join(f"u\t{item}\t{time}\n" for item, time in times.items())
    (folder / "close.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n" + rows)
    columns = {"inter": ["user_id", "item_id", "timestamp"]}
    written = {**quiet, "dataset": "close", "data_path": str(folder.parent), "load_col": columns}
    with pytest.warns(TimeWarning, match="the last event of 1 of 1 users"):
        cast = split(create("SASRec", {**written, "normalize_all": False}))
    exact = split(create("SASRec", {**written, "normalize_all": False, "exact_timestamps": True}))
    assert names(cast.test)[1] != ["d"] and names(exact.test)[1] == ["d"]
    assert [exact.train.item_ids[item] for item in exact.train.histories.values] == ["a", "b"]


def names(events):
    """Users and items by name."""
    return [events.user_ids[row] for row in events.user], [events.item_ids[row] for row in events.item]
