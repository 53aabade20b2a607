"""`run_recbole` for our models."""

from collections.abc import Sequence
from typing import Any

from graphcl.errors import InputError
from recsys.config import read
from recsys.integrations.recbole.adapter import Adapter, model_class
from recsys.integrations.recbole.compat import running
from recsys.integrations.recbole.keys import model_config, refuse_several_processes, regime
from recsys.integrations.recbole.registry import register


@running()
def run(
    model: str | type[Any] | None = None,
    dataset: str | None = None,
    config_file_list: Sequence[str] | None = None,
    config_dict: dict[str, Any] | None = None,
    saved: bool = True,
    queue: Any = None,
) -> dict[str, Any]:
    """Train and test a model of ours in RecBole's pipeline, as `run_recbole` does for RecBole's own.

    Args:
        model: its name, its kind in YAML, or a class that `model_class` made; may stand in the configuration.
        dataset: the name of RecBole's data set; may stand in the configuration.
        config_file_list: YAML files; a later one has the last word.
        config_dict: keys that have the last word over the files.
        saved: whether the best weights are saved below `checkpoint_dir`, and tested.
        queue: receives the result, too.

    Returns:
        `best_valid_score`, `valid_score_bigger`, `best_valid_result` and `test_result`.

    Raises:
        InputError: a key, a value, the model or the data is at fault; the message says how to mend it.
    """
    from recbole.config import Config
    from recbole.quick_start import run_recbole

    files, written = list(config_file_list or []), dict(config_dict or {})
    chosen = chosen_class(model or named_model(files, written))
    config = Config(model=chosen, dataset=dataset, config_file_list=files, config_dict=dict(written))
    refuse_several_processes(config)
    model_config(config, chosen.recommender_class, chosen.hyper)
    regime(config)
    result: dict[str, Any] = run_recbole(chosen.__name__, dataset, files, written, saved, queue)
    return result


def chosen_class(model: str | type[Any]) -> type[Any]:
    """The class by that name, or a class that `model_class` made."""
    if isinstance(model, type) and issubclass(model, Adapter):
        register(model)
        return model
    return model_class(model if isinstance(model, str) else model.__name__)


def named_model(files: Sequence[str], written: dict[str, Any]) -> str:
    """The model that the configuration names."""
    from pathlib import Path

    for tree in (written, *(read(Path(file)) for file in reversed(files))):
        if "model" in tree:
            return str(tree["model"])
    raise InputError("model: is missing; name it in the call, in config_dict or in a file of config_file_list")
