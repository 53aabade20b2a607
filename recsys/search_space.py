"""What a search for hyper-parameters may try, and whether a model has it."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, get_type_hints

from graphcl.errors import InputError, suggest
from graphcl.training.loop import Training
from recsys.config import ConfigError, construct, convert, named
from recsys.experiment import Experiment

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True, kw_only=True)
class Between:
    """A number in [low, high]; whole numbers where both ends are whole."""

    low: float | int
    high: float | int
    log: bool = False
    """Whether equal ratios are equally likely."""

    def __post_init__(self) -> None:
        if not -inf < self.low < self.high < inf or (self.log and self.low <= 0):
            raise InputError(
                f"low {self.low}, high {self.high}: must rise, be finite, and be above 0 where log is true"
            )


Space = dict[str, Between | tuple[Any, ...]]
"""Key of the model or of the training -> a range, or the values it may take."""


def space_of(tree: Mapping[str, Any]) -> Space:
    """The space that YAML describes: `key: {low: 0.1, high: 1, log: true}` or `key: [value, value, ...]`.

    Raises:
        ConfigError: every entry that is neither.
    """
    problems: list[str] = []
    space: Space = {}
    for key, choice in tree.items():
        if isinstance(choice, list | tuple) and choice:
            space[key] = tuple(choice)
        elif isinstance(choice, Mapping):
            space[key] = construct(Between, choice, f"search.{key}", problems)
        else:
            problems.append(f"search.{key}: write {{low: 0.1, high: 1}} or a list of values, got {choice!r}")
    if problems:
        raise ConfigError("\n".join(problems))
    return space


USUAL: Space = {
    "learning_rate": Between(low=3e-4, high=1e-2, log=True),
    "reg_weight": Between(low=1e-6, high=1.0, log=True),
    "cl_weight": Between(low=1e-3, high=1.0, log=True),
    "temperature": Between(low=0.05, high=1.0, log=True),
    "n_layers": (1, 2, 3),
    "drop_ratio": Between(low=0.05, high=0.5),
    "hidden_dropout": Between(low=0.1, high=0.6),
}
"""What is searched where nothing else is said: those of these keys that a model has."""


def usual(experiment: Experiment) -> Space:
    """`USUAL`, with what the model itself says of its keys."""
    return USUAL | space_of(experiment.model.usual_search)


def searched(experiment: Experiment) -> dict[str, dict[str, str]]:
    """The keys that a search may try: those of the model and of its training, never of how it is judged."""
    return {"model": named(experiment.model.Config), "training": named(Training)}


def full_names(experiment: Experiment) -> list[str]:
    """The same keys with their blocks: "model.temperature"."""
    return [f"{block}.{key}" for block, keys in searched(experiment).items() for key in keys]


def searchable(space: Mapping[str, Any], experiment: Experiment) -> Space:
    """The part of `space` whose keys the experiment has, by block: "model.temperature".

    A model that is computed at once has no training to search.

    Raises:
        InputError: a key that names its block is not one of the model or of its training.
    """
    blocks = searched(experiment)
    wanted: Space = {}
    for written, choice in space.items():
        block, dot, key = written.partition(".")
        if not dot:
            block, key = next((name for name, keys in blocks.items() if written in keys), ""), written
        elif key not in blocks.get(block, ()):
            near = suggest(written, full_names(experiment))
            raise InputError(f"search.{written}: is no key of the model or its training{near}")
        if block and f"{block}.{key}" in wanted:
            raise InputError(f"search.{written}: {block}.{key} is named twice; write it once")
        if block == "model" or (block and experiment.model.phases):
            now = getattr({"model": experiment.config, "training": experiment.training}[block], blocks[block][key])
            wanted[f"{block}.{key}"] = whole(choice) if type(now) is int else choice
    return wanted


def whole(choice: Any) -> Any:
    """A range of a whole number as one, should its ends have been written as 1e2."""
    if isinstance(choice, Between) and float(choice.low).is_integer() and float(choice.high).is_integer():
        return Between(low=int(choice.low), high=int(choice.high), log=choice.log)
    return choice


def applicable(space: Mapping[str, Any], experiment: Experiment) -> Space:
    """The searchable part of `space`.

    Raises:
        InputError: there is none.
    """
    wanted = searchable(space, experiment)
    if not wanted:
        keys = f"model {experiment.kind!r} has none of the keys {', '.join(space)}" if space else "the space is empty"
        raise InputError(f"search: {keys}; name some of 'recsys config {experiment.kind}'")
    return wanted


def refuse_misfits(space: Space, experiment: Experiment) -> None:
    """Check a space that somebody wrote for this very model, each key by itself: two may still not go together.

    Raises:
        ConfigError: every key that the model and its training lack, and every end or value that they do not admit.
    """
    known = searched(experiment)
    hints = {
        "model": get_type_hints(experiment.model.Config, include_extras=True),
        "training": get_type_hints(Training, include_extras=True),
    }
    problems: list[str] = []
    for key, choice in space.items():
        places = [
            (block, field)
            for block, keys in known.items()
            for name, field in keys.items()
            if key in (name, f"{block}.{name}")
        ]
        if not places:
            near = suggest(key, [name for keys in known.values() for name in keys])
            problems.append(f"search.{key}: unknown key{near}")
            continue
        block, field = places[0]
        for value in (choice.low, choice.high) if isinstance(choice, Between) else choice:
            convert(hints[block][field], value, f"search.{block}.{field}", problems)
    if problems:
        raise ConfigError("\n".join(problems))


def plain(space: Space) -> dict[str, Any]:
    """The space as JSON."""
    return {key: vars(choice) if isinstance(choice, Between) else list(choice) for key, choice in space.items()}


def admits(choice: Any, value: Any) -> bool:
    """Whether a value is in a range, or among the values of a choice."""
    if not isinstance(choice, Between):
        return value in choice
    return isinstance(value, int | float) and choice.low <= value <= choice.high


def distribution(choice: Any) -> "BaseDistribution":
    """A range or a choice, in the words of optuna."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(choice, Between):
        return CategoricalDistribution(choice)
    if isinstance(choice.low, int) and isinstance(choice.high, int):
        return IntDistribution(choice.low, choice.high, log=choice.log)
    return FloatDistribution(choice.low, choice.high, log=choice.log)
