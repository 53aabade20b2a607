"""From RecBole to here and back: our models in RecBole's pipeline, RecBole's data and models in ours.

>>> from recsys.integrations.recbole import run, model_class, running
>>> run(model="ICSRec", dataset="ml-100k", config_dict={"epochs": 2})          # doctest: +SKIP
>>> DCCF = model_class("DCCF", n_layers=3)                                     # doctest: +SKIP
>>> with running():                                                            # doctest: +SKIP
...     config = recbole.config.Config(model=DCCF, dataset="ml-100k")

- `run` takes the arguments of `run_recbole` and gives its result.
- `model_class` gives a class that RecBole's functions take for a model of its own.
- `running` are the surroundings that RecBole needs today; all its functions are called inside.
- `interactions`, `split`: RecBole's data in our terms.
- `index_of`: RecBole's own models before our evaluator.
- `import_run`: a checkpoint from RecBole as a run folder of ours.

Nothing here is imported before it is used; `RecBoleError` says that RecBole is missing or of an unknown version.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from recsys.integrations.recbole.compat import running
from recsys.integrations.recbole.requirements import RecBoleError, require

if TYPE_CHECKING:
    from recsys.integrations.recbole.adapter import model_class
    from recsys.integrations.recbole.data import interactions, split
    from recsys.integrations.recbole.imports import import_run
    from recsys.integrations.recbole.pipeline import run
    from recsys.integrations.recbole.ranking import index_of

__all__ = ["RecBoleError", "import_run", "index_of", "interactions", "model_class", "run", "running", "split"]

_HOMES = {
    "run": "pipeline",
    "model_class": "adapter",
    "interactions": "data",
    "split": "data",
    "index_of": "ranking",
    "import_run": "imports",
}


def __getattr__(name: str) -> Any:
    """The public names, imported when first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require()
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
