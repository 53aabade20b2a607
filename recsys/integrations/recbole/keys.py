"""One configuration, two vocabularies: RecBole's keys keep their meaning, ours are read beside them.

What a person wrote is `config.external_config_dict` (files, dictionary); a key that neither side knows is refused.
RecBole's own defaults are never mistaken for choices about our models, whose defaults stand in their `Config`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from graphcl.errors import InputError, suggest
from graphcl.training.loop import Training
from recsys.config import ConfigError, construct
from recsys.models.base import Recommender
from recsys.models.sequence import SequenceRecommender

EXACT_TIMESTAMPS = "exact_timestamps"
"""Our key for RecBole's data: order events by their times in full precision; see `recsys.integrations.recbole.data`."""
SYNONYMS = {
    "hidden_dropout_prob": "hidden_dropout",
    "attn_dropout_prob": "attention_dropout",
    "dropout_prob": "hidden_dropout",
    "num_layers": "n_layers",
    "ssl_tau": "temperature",
    "ssl_weight": "cl_weight",
}
"""RecBole's names of keys of models -> ours, where the meaning is the same."""
FIXED = {"hidden_act": "gelu", "layer_norm_eps": 1e-12}
"""Keys of RecBole's transformers of which we offer one value."""
LOSSES = {"CE": "softmax", "BPR": "bpr"}
"""RecBole's `loss_type` -> our `loss`."""
RECBOLE_ALONE = (
    *("model", "dataset", "encoding", "config_file", "config_files", "nproc", "world_size", "ip", "port", "offset"),
    *("local_rank", "single_spec", "neg_sampling", "training_neg_sample_num", "wandb_project", "require_pow"),
)
"""Keys that RecBole reads, but lists nowhere."""
RIVALS = {"optimizer": "learner", "patience": "stopping_step", "eval_every": "eval_step", "clip_norm": "clip_grad_norm"}
"""Our keys of training -> RecBole's keys about the same thing."""
SHARED = ("epochs", "train_batch_size", "learning_rate", "weight_decay")
"""Keys of training that mean the same on both sides."""


def check_keys(config: Any, model: type[Recommender]) -> None:
    """Raise `ConfigError` if somebody wrote a key that neither RecBole nor the model nor our training knows."""
    own = {field.name for field in fields(model.Config)} | set(aliases(model)) | set(theirs(model))
    known = recbole_keys(config) | own | {field.name for field in fields(Training)} | {EXACT_TIMESTAMPS}
    wrong = [key for key in config.external_config_dict if key not in known]
    if wrong:
        raise ConfigError(
            "\n".join(f"{key}: unknown to RecBole and to {model.__name__}{near(key, known)}" for key in wrong)
        )


def near(key: str, known: set[str]) -> str:
    """The nearest key, or a word about where to look."""
    return suggest(key, known, quiet=True) or "; 'recsys config' lists a model's keys"


def recbole_keys(config: Any) -> set[str]:
    """What RecBole knows."""
    listed = {key for group in config.parameters.values() for key in group}
    return set(config.internal_config_dict) | listed | set(RECBOLE_ALONE)


def aliases(model: type[Recommender]) -> Mapping[str, str]:
    """Historical names that the model declares."""
    return vars(model.Config).get("aliases", {})


def theirs(model: type[Recommender]) -> list[str]:
    """RecBole's keys of models that this model reads."""
    own = {field.name for field in fields(model.Config)}
    names = [name for name, ours in SYNONYMS.items() if ours in own]
    return [*names, "hidden_size", "loss_type", *FIXED] if issubclass(model, SequenceRecommender) else names


def named_hyper(model: type[Recommender], hyper: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of `model_class`, checked.

    Raises:
        ConfigError: a key is unknown, or is one of the training; a value is out of range.
    """
    for key in hyper:
        if key not in {field.name for field in fields(model.Config)} and key in {f.name for f in fields(Training)}:
            raise ConfigError(f"{key}: is about the training, not the model; say it in the configuration")
    problems: list[str] = []
    construct(model.Config, hyper, model.__name__, problems)
    if problems:
        raise ConfigError("\n".join(problems))
    return dict(hyper)


def model_config(config: Any, model: type[Recommender], hyper: Mapping[str, Any]) -> Any:
    """The model's `Config`: the class's own keys, over them those of the configuration.

    Raises:
        ConfigError: a key is unknown to both sides, or has a value that does not do.
    """
    check_keys(config, model)
    written = config.external_config_dict
    own = {field.name for field in fields(model.Config)} | set(aliases(model))
    problems: list[str] = []
    tree = {aliases(model).get(key, key): value for key, value in hyper.items()}
    chosen = {key: value for key, value in written.items() if key in own}
    if issubclass(model, SequenceRecommender):
        chosen |= sequence_keys(config, model, tree, chosen, problems)
    for key, ours in SYNONYMS.items():
        if key in written and ours in own and key not in own:
            settle(chosen, ours, written[key], key, problems)
    if (draws := written.get("train_neg_sample_args")) is not None and "n_negatives" in own:
        for ours, value in negative_keys(draws, own, problems).items():
            settle(chosen, ours, value, "train_neg_sample_args", problems)
    named = {aliases(model).get(key, key) for key in chosen}
    tree = {key: value for key, value in tree.items() if key not in named} | chosen
    built = construct(model.Config, tree, model.__name__, problems)
    if problems:
        raise ConfigError("\n".join(problems))
    return built


def sequence_keys(
    config: Any, model: type[SequenceRecommender], tree: Mapping[str, Any], chosen: dict[str, Any], problems: list[str]
) -> dict[str, Any]:
    """What RecBole's keys of sequential models say about ours.

    `hidden_size` is the size of a transformer's embeddings there, the width of a GRU's state in both vocabularies.
    """
    written = config.external_config_dict
    found: dict[str, Any] = {}
    for key, value in FIXED.items():
        if key in written and written[key] != value:
            problems.append(f"{key}: {written[key]!r} is not offered, {model.__name__} has {value!r}")
    encoder = (dict(tree) | chosen).get("encoder", model.Config.encoder)
    if "hidden_size" in chosen and encoder == "transformer":
        settle(chosen, "embedding_size", chosen.pop("hidden_size"), "hidden_size", problems)
    if (kind := written.get("loss_type")) is not None:
        if kind not in LOSSES:
            problems.append(f"loss_type: {kind!r} is unknown{suggest(kind, LOSSES)}")
        else:
            settle(chosen, "loss", LOSSES[kind], "loss_type", problems)
    kept = config["MAX_ITEM_LIST_LENGTH"]
    wanted = chosen.get("max_length", tree.get("max_length"))
    if wanted is None:
        found["max_length"] = kept
    elif isinstance(wanted, int) and wanted > kept:
        problems.append(
            f"max_length: the model would read {wanted} items, RecBole keeps {kept} of a history; "
            f"set MAX_ITEM_LIST_LENGTH: {wanted}"
        )
    return found


def settle(chosen: dict[str, Any], ours: str, value: Any, key: str, problems: list[str]) -> None:
    """Take RecBole's word for our key, unless ours was written too and says something else."""
    if chosen.setdefault(ours, value) != value:
        problems.append(f"{key}: {value!r} contradicts {ours}: {chosen[ours]!r}; keep one of them")


def negative_keys(draws: Mapping[str, Any], own: set[str], problems: list[str]) -> dict[str, Any]:
    """RecBole's `train_neg_sample_args` in our keys."""
    found: dict[str, Any] = {"n_negatives": draws.get("sample_num", 1)}
    popular = draws.get("distribution", "uniform") == "popularity"
    if "negative_popularity" in own:
        found["negative_popularity"] = float(draws.get("alpha", 1.0)) if popular else 0.0
    elif popular:
        problems.append("train_neg_sample_args: this model draws its negatives uniformly")
    if draws.get("dynamic") and ("hard_negatives" not in own or found["n_negatives"] != 1):
        problems.append("train_neg_sample_args: dynamic works with graph models, for sample_num: 1")
    elif draws.get("dynamic"):
        found |= {"n_negatives": draws["candidate_num"], "hard_negatives": True}
    return found


@dataclass(frozen=True)
class Regime:
    """How our trainer trains."""

    training: Training
    learner: str
    """The optimiser, as RecBole calls it."""
    stopping_step: int
    eval_step: int


def training_keys(config: Any) -> list[str]:
    """The keys of training that somebody wrote in our vocabulary."""
    ours = {field.name for field in fields(Training)} - set(SHARED)
    return [key for key in config.external_config_dict if key in ours]


def regime(config: Any) -> Regime:
    """What the configuration says about the training.

    Raises:
        ConfigError: a value is out of range, a thing is said twice, or RecBole's loader alone can do it.
    """
    written = config.external_config_dict
    ours = training_keys(config)
    problems = [
        f"{key}: says the same as RecBole's {RIVALS[key]!r}; keep one of them"
        for key in ours
        if key in RIVALS and RIVALS[key] in written
    ]
    tree = {key: config[key] for key in SHARED} | {key: written[key] for key in ours}
    draws = written.get("train_neg_sample_args")
    if isinstance(draws, Mapping) and isinstance(draws.get("sample_num", 1), int):
        tree["train_batch_size"] = max(config["train_batch_size"] // draws.get("sample_num", 1), 1)
    if config["clip_grad_norm"]:
        tree["clip_norm"] = config["clip_grad_norm"].get("max_norm")
        if config["clip_grad_norm"].get("norm_type", 2) not in (2, 2.0):
            problems.append("clip_grad_norm: our trainer measures the norm of the gradient with norm_type: 2")
    if config["enable_amp"] and "precision" not in tree:
        tree["precision"] = "fp16" if config["enable_scaler"] and config["device"].type == "cuda" else "bf16"
    if config["shuffle"] is False:
        problems.append("shuffle: our samplers have no order of their own; leave it True")
    if config["transform"]:
        problems.append("transform: acts on RecBole's batches, our trainer draws its own; leave it out")
    training = construct(Training, tree, "training", problems)
    if problems:
        raise ConfigError("\n".join(problems))
    return Regime(
        training,
        learner=training.optimizer if "optimizer" in ours else config["learner"],
        stopping_step=training.patience - 1 if "patience" in ours else config["stopping_step"],
        eval_step=training.eval_every if "eval_every" in ours else config["eval_step"],
    )


def refuse_several_processes(config: Any) -> None:
    """Raise `InputError` where RecBole was told to train on several processes."""
    if not config["single_spec"]:
        raise InputError("nproc: our models train in one process inside RecBole; use nproc: 1, or recsys train")
