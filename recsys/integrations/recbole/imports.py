"""Checkpoints that were trained in RecBole, as run folders of ours."""

from pathlib import Path
from typing import Any

import torch

from graphcl.errors import InputError
from graphcl.training import checkpoint
from graphcl.training.state import BEST
from recsys.data.interactions import Interactions, Split
from recsys.experiment import Evaluation, Experiment, Settings, refuse_long_lists
from recsys.integrations.recbole.adapter import Adapter
from recsys.integrations.recbole.checkpoints import DAMAGED
from recsys.integrations.recbole.compat import running
from recsys.integrations.recbole.data import split
from recsys.integrations.recbole.keys import FIXED, LOSSES
from recsys.migrate import Official, rename, shapes_of
from recsys.models.base import Recommender
from recsys.models.sasrec import SASRec
from recsys.run import Run
from recsys.training import finish, furnish

REPORT = ("recall@10", "mrr@10", "ndcg@10", "hit@10", "precision@10")
"""RecBole's own metrics."""


def import_run(path: str | Path, folder: str | Path) -> Run:
    """A run folder, as of `recsys train`, from a checkpoint of RecBole's SASRec or of a model of ours in RecBole.

    RecBole reads and divides its data anew, as the configuration in the checkpoint says. Rankings stay the same.

    Args:
        path: the `.pth` file that RecBole saved.
        folder: where the run folder is made.

    Raises:
        InputError: the file is no checkpoint of such a model, its data is gone or has fewer than 10 items, or the
            folder exists.
    """
    model, data = opened(Path(path))
    evaluation = Evaluation(report=REPORT, mask_history=model.task == "general", repeats="candidates")
    refuse_long_lists(REPORT, data.train.num_items)
    # No data set: an entry of datasets.yaml of the same name may be divided otherwise.
    experiment = Experiment(Settings(), type(model), model.config, evaluation=evaluation)
    try:
        Path(folder).mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); name a new folder") from error
    furnish(Path(folder), experiment, data)
    cause = {"imported": Path(path).name}
    checkpoint.save(Path(folder) / BEST, model.state_dict(), cause)
    outcome = {"best_epoch": 0, "best_value": None, "last_epoch": 0, "cause": f"import of {cause['imported']}"}
    return finish(Run(Path(folder), experiment, data, model.eval()), outcome)


def opened(path: Path) -> tuple[Recommender, Split]:
    """The model of a checkpoint in our terms, and the data that it was trained on."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; RecBole saves checkpoints below its checkpoint_dir")
    with running():
        from recbole.quick_start import load_data_and_model

        try:
            _, model, _, *parts = load_data_and_model(str(path))
        except InputError:
            raise
        except (*DAMAGED, TypeError) as error:
            raise InputError(
                f"{path}: is no checkpoint of RecBole's, or its data is not where it was ({error or 'it is cut short'})"
            ) from error
    data = split(*parts)
    if isinstance(model, Adapter):
        return model.recommender.cpu(), data
    if type(model).__name__ != "SASRec":
        raise InputError(f"{path}: is of RecBole's {type(model).__name__}; of its own models SASRec can be imported")
    return sasrec(model.cpu(), data.train), data


def sasrec(model: Any, train: Interactions) -> SASRec:
    """RecBole's SASRec as ours; `train` is its training data in our terms.

    Raises:
        InputError: it has an activation or a norm that ours lacks.
    """
    for name, value in FIXED.items():
        if getattr(model, name) != value:
            raise InputError(f"{name}: {getattr(model, name)!r} is not offered, our SASRec has {value!r}")
    weights = {rename("mclrec", name, "SASRec"): value.detach() for name, value in model.state_dict().items()}
    padding, *items = weights["items.weight"].split([1, train.num_items])
    weights["items.weight"] = torch.cat([*items, padding, torch.zeros_like(padding)])  # nobody reads our mask's row
    keys = shapes_of(weights) | {
        "n_heads": model.n_heads,
        "hidden_dropout": model.hidden_dropout_prob,
        "attention_dropout": model.attn_dropout_prob,
        "initializer_range": model.initializer_range,
        "loss": LOSSES[model.loss_type],
    }
    ours = SASRec(train, SASRec.Config(**keys))
    Official("sasrec", keys, weights).adopt(ours)
    return ours.eval()
