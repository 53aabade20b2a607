"""What RecBole needs of its surroundings on today's stack: granted while it runs, taken back afterwards.

RecBole's files are never touched. Everything that `running` changes stands in `CHANGES`:

- `numpy_names`: NumPy 2 dropped names that RecBole reads (`float_`, `complex_`, ...), and RecBole sets more of them;
- `dok_update`: SciPy 1.13 dropped the private `dok_matrix._update`, by which LightGCN and others fill a matrix;
- `checked_loading`: torch 2.6 loads weights only, RecBole pickles its whole `Config`; see `checkpoints.load`;
- `no_arguments`: RecBole's `Config` reads the command line of whatever program runs, pytest's for example;
- `yaml_numbers`: `Config` teaches `yaml.FullLoader` another syntax of numbers, for the whole process;
- `visible_devices`: `Config` sets CUDA_VISIBLE_DEVICES;
- `own_logging`: `init_logger` puts handlers on the root logger;
- `absent_packages`: `quick_start` imports ray, RecBole 1.2.0's models kmeans_pytorch; stand-ins take their places;
- `hyperopt_generators`: `HyperTuning` hands hyperopt a random generator of a kind that it takes no more;
- `no_anomaly_mode`: importing RecBole's sequential models switches autograd's anomaly mode on, for the whole process.
"""

import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
import yaml
from scipy.sparse import dok_matrix

from recsys.integrations.recbole.requirements import RecBoleError, installed, require

NUMPY_NAMES: Mapping[str, Any] = {
    "float_": np.float64,
    "complex_": np.complex128,
    "unicode_": np.str_,
    "float": np.float64,
    "int": np.int_,
    "bool": np.bool_,
    "complex": np.complex128,
    "object": np.object_,
    "str": np.str_,
    "long": np.int_,
    "unicode": np.str_,
}
"""Names that RecBole reads or sets."""
_inside: ContextVar[bool] = ContextVar("inside", default=False)
_absent = object()


@contextmanager
def running() -> Iterator[None]:
    """The surroundings in which RecBole runs, and in which it finds our models by name.

    Inside, RecBole's own functions work as its documentation says, on our models and on its own. At the end
    everything is as before. May be nested, and used as a decorator.

    Raises:
        RecBoleError: RecBole is missing or of an unknown version.
    """
    if _inside.get():
        yield
        return
    require()
    from recsys.integrations.recbole.registry import mounted

    token = _inside.set(True)
    try:
        with ExitStack() as stack:
            for change in (*CHANGES, mounted):
                stack.enter_context(change())
            yield
    finally:
        _inside.reset(token)


def is_running() -> bool:
    """Whether we are inside `running`."""
    return _inside.get()


@contextmanager
def restored(owner: Any, names: Mapping[str, Any]) -> Iterator[None]:
    """`names` are attributes of `owner` where it lacks them; afterwards all are as before."""
    before = {name: vars(owner).get(name, _absent) for name in names}
    for name, value in names.items():
        if before[name] is _absent:
            setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is not _absent:
                setattr(owner, name, value)
            elif name in vars(owner):
                delattr(owner, name)


def numpy_names() -> AbstractContextManager[None]:
    """The names that NumPy 2 dropped."""
    return restored(np, NUMPY_NAMES)


def dok_update() -> AbstractContextManager[None]:
    """`dok_matrix._update`, as SciPy had it: many entries at once, unchecked."""

    def update(matrix: Any, entries: Mapping[tuple[int, int], float]) -> None:
        matrix._dict.update(entries)

    return restored(dok_matrix, {"_update": update} if "_update" not in dir(dok_matrix) else {})


@contextmanager
def checked_loading() -> Iterator[None]:
    """`torch.load` reads RecBole's checkpoints, and admits nothing in them but data and RecBole's own classes."""
    from recsys.integrations.recbole.checkpoints import loader

    before = torch.load
    torch.load = loader(before)
    try:
        yield
    finally:
        torch.load = before


@contextmanager
def no_arguments() -> Iterator[None]:
    """The program has a name, and no arguments."""
    before = sys.argv
    sys.argv = before[:1] or [""]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def yaml_numbers() -> Iterator[None]:
    """`yaml.FullLoader` reads numbers as before."""
    own = "yaml_implicit_resolvers" in vars(yaml.FullLoader)
    before = {first: list(rules) for first, rules in yaml.FullLoader.yaml_implicit_resolvers.items()}
    try:
        yield
    finally:
        if own:
            yaml.FullLoader.yaml_implicit_resolvers = before
        elif "yaml_implicit_resolvers" in vars(yaml.FullLoader):
            del yaml.FullLoader.yaml_implicit_resolvers


@contextmanager
def visible_devices() -> Iterator[None]:
    """CUDA_VISIBLE_DEVICES is as before."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        yield
    finally:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        if before is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


@contextmanager
def own_logging() -> Iterator[None]:
    """The root logger has its handlers and level; files that were opened for logs are closed."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        for handler in [handler for handler in root.handlers if handler not in handlers]:
            root.removeHandler(handler)
            handler.close()
        root.setLevel(level)


@contextmanager
def absent_packages() -> Iterator[None]:
    """`recbole.quick_start` can be imported; its `tune.report` tells nobody.

    ray is replaced even where it is installed: the one that RecBole allows cannot be imported beside setuptools 82.
    Who has imported RecBole's quick_start with a working ray before, keeps it.
    """
    stand_ins = {} if "ray" in sys.modules else {"ray": ray_stand_in(), "ray.tune": ray_stand_in().tune}
    if installed("recbole") < (1, 2, 1) and importlib.util.find_spec("kmeans_pytorch") is None:
        stand_ins["kmeans_pytorch"] = module("kmeans_pytorch", kmeans=refuse_kmeans)
    loaded = "recbole.quick_start" in sys.modules
    sys.modules.update(stand_ins)
    try:
        import recbole.model.general_recommender
        import recbole.quick_start
    finally:
        for name in stand_ins:
            del sys.modules[name]
    try:
        yield
    finally:
        if not loaded:
            for name in [name for name in sys.modules if name.startswith("recbole.quick_start")]:
                del sys.modules[name]
            del recbole.quick_start


def ray_stand_in() -> ModuleType:
    """A ray of which RecBole only calls `tune.report`."""
    return module("ray", tune=module("ray.tune", report=lambda **metrics: None))


def refuse_kmeans(*arguments: Any, **options: Any) -> None:
    """What LDiffRec calls where kmeans_pytorch is not installed."""
    raise RecBoleError("this model of RecBole needs kmeans_pytorch; pip install kmeans_pytorch")


@contextmanager
def hyperopt_generators() -> Iterator[None]:
    """`HyperTuning` searches exhaustively with hyperopt 0.2.6 and later, too, which call `Generator.integers`."""
    hyper_tuning: Any = importlib.import_module("recbole.trainer.hyper_tuning")
    before = hyper_tuning.np
    if installed("hyperopt") > (0, 2, 5):
        drawing = SimpleNamespace(RandomState=np.random.default_rng)
        hyper_tuning.np = module("numpy", **{**vars(np), "random": drawing})
    try:
        yield
    finally:
        hyper_tuning.np = before


def module(name: str, /, **content: Any) -> ModuleType:
    """A module made by hand."""
    made = ModuleType(name)
    made.__spec__ = importlib.util.spec_from_loader(name, loader=None)
    vars(made).update(content)
    return made


@contextmanager
def no_anomaly_mode() -> Iterator[None]:
    """RecBole's sequential models are imported, and anomaly mode is as it was before anybody imported them.

    If they were imported earlier, before we could look, anomaly mode is taken for their doing and switched off; who
    wants it can switch it on inside.
    """
    trigger = "recbole.model.sequential_recommender"
    before = False if trigger in sys.modules else torch.is_anomaly_enabled()
    importlib.import_module(trigger)
    torch.autograd.set_detect_anomaly(before)
    try:
        yield
    finally:
        torch.autograd.set_detect_anomaly(before)


CHANGES: tuple[Callable[[], AbstractContextManager[None]], ...] = (
    numpy_names,
    dok_update,
    checked_loading,
    no_arguments,
    yaml_numbers,
    visible_devices,
    own_logging,
    absent_packages,
    hyperopt_generators,
    no_anomaly_mode,
)
