"""RecBole in a folder of its own, and a small world as its atomic file."""

from types import SimpleNamespace

import pytest
import torch
from worlds import checkerboard

pytest.importorskip("recbole")

from recsys.integrations.recbole import model_class, running


@pytest.fixture(autouse=True)
def _apart(tmp_path, monkeypatch):
    """RecBole writes logs and checkpoints where it stands."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def quiet():
    """Keys of a RecBole configuration: one epoch on the CPU, unrounded metrics."""
    return {"gpu_id": "", "show_progress": False, "epochs": 1, "metric_decimal_place": 12}


@pytest.fixture
def world(tmp_path, quiet):
    """Keys of a RecBole configuration for the data set "world", whose rows are in no order."""
    events = checkerboard()
    every = events.train + events.valid + events.test
    rows = torch.randperm(len(every), generator=torch.Generator().manual_seed(0)).tolist()
    lines = [f"u{every.user[row]}\ti{every.item[row]}\t{float(every.time[row])}\n" for row in rows]
    folder = tmp_path / "atomic" / "world"
    folder.mkdir(parents=True)
    (folder / "world.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n" + "".join(lines))
    return quiet | {
        "dataset": "world",
        "data_path": str(folder.parent),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "train_batch_size": 32,
    }


@pytest.fixture
def prepare():
    """Makes RecBole's objects up to the model, by its own functions, for a name of ours or of RecBole's."""

    def make(name, written, *, ours=True, **hyper):
        with running():
            from recbole.config import Config
            from recbole.data import create_dataset, data_preparation
            from recbole.utils import get_model, init_seed

            chosen = model_class(name, **hyper) if ours else get_model(name)
            config = Config(model=chosen, config_dict=dict(written))
            init_seed(config["seed"], config["reproducibility"])
            dataset = create_dataset(config)
            train, valid, test = data_preparation(config, dataset)
            init_seed(config["seed"], config["reproducibility"])
            model = chosen(config, train.dataset)
        return SimpleNamespace(config=config, dataset=dataset, train=train, valid=valid, test=test, model=model)

    return make
