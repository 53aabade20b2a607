"""Our models as RecBole model classes: ids shift by one, since RecBole's 0 is padding."""

import copyreg
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from recbole.model.abstract_recommender import GeneralRecommender, SequentialRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from graphcl.errors import InputError
from recsys.data.ragged import Ragged, offsets_of
from recsys.data.samplers import PairSampler, Triples
from recsys.integrations.recbole.data import interactions, refuse_other_task
from recsys.integrations.recbole.keys import model_config, named_hyper, training_keys
from recsys.integrations.recbole.registry import kind_of_model, recbole_name, register
from recsys.models import MODELS
from recsys.models.base import Index, Recommender, no_items
from recsys.models.sequence import SequenceRecommender
from recsys.sequences.sampler import PrefixSampler, Sequences


class AdapterType(type(nn.Module)):  # type: ignore[misc]
    """The type of the classes that `model_class` makes: they are pickled by what they were made from."""


class Adapter(metaclass=AdapterType):
    """What RecBole asks of a model, answered by one of ours.

    Scores come from a picture of the recommender (`Index`) that is taken anew whenever a weight has changed.
    """

    input_type = InputType.PAIRWISE
    kind: ClassVar[str]
    hyper: ClassVar[Mapping[str, Any]]
    recommender_class: ClassVar[type[Recommender]]
    home: ClassVar[str]
    """The module in which RecBole looks for the class."""

    def __init__(self, config: Any, dataset: Any) -> None:
        refuse_other_task(self.recommender_class, dataset)
        super().__init__(config, dataset)  # type: ignore[call-arg]
        train = interactions(dataset)
        self.recommender = self.recommender_class(train, model_config(config, self.recommender_class, self.hyper))
        self.histories = Ragged(
            train.histories.values, torch.cat([train.histories.offsets, torch.tensor([len(train)])])
        )
        """[U + 1] rows; the last is that of an unknown user."""
        self.training_keys = training_keys(config)
        self.placeholder = None if any(True for _ in self.recommender.parameters()) else nn.Parameter(torch.zeros(1))
        """RecBole's optimisers want something to learn, even where nothing is."""
        self.sampler: Any = None
        self.epoch_begins = True
        self._picture: tuple[Any, Index] | None = None

    def train(self, mode: bool = True) -> Any:
        """As every module; RecBole calls it when an epoch begins."""
        self.epoch_begins = self.epoch_begins or mode
        return super().train(mode)  # type: ignore[misc]

    def calculate_loss(self, interaction: Any) -> tuple[Tensor, ...]:
        """The named terms of the loss on a batch of RecBole's loader, for RecBole's own `Trainer`.

        Raises:
            InputError: the model learns from other samples, or in several updates; our trainer does that.
        """
        learner = self.recommender
        if self.sampler is None:
            self.sampler = learner.sampler()
            self.refuse_stock_trainer()
        if self.epoch_begins:
            self.epoch_begins = False
            learner.eval()
            with torch.no_grad():
                learner.begin_epoch(self.sampler)
            learner.train()
        if self.placeholder is not None:
            return (0 * self.placeholder.sum(),)
        return tuple(learner(self.batch(interaction), learner.phases[0]).values())

    def refuse_stock_trainer(self) -> None:
        """Raise `InputError` where RecBole's `Trainer` cannot do what the model needs."""
        name = type(self).__name__
        ours = f"let get_trainer(config['MODEL_TYPE'], {name!r}) choose the trainer, inside 'with running():'"
        if len(self.recommender.phases) > 1:
            raise InputError(f"{name} makes several updates of each batch, RecBole's Trainer makes one; {ours}")
        if self.recommender.phases and type(self.sampler) not in (PairSampler, PrefixSampler):
            raise InputError(f"{name} learns from samples that RecBole's loaders do not make; {ours}")
        if self.training_keys:
            raise InputError(f"{', '.join(self.training_keys)}: RecBole's Trainer does not know this key; {ours}")

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """[B * (I + 1)] scores of all items, padding first."""
        user, history = self.query(interaction)
        with torch.no_grad():
            scores = self.index().score(user, history).float()
        padded = scores.new_full((scores.shape[0], scores.shape[1] + 1), -torch.inf)
        padded[:, 1:] = scores
        return padded.flatten()

    def predict(self, interaction: Any) -> Tensor:
        """[B] scores of one item for each row."""
        user, history = self.query(interaction)
        item = interaction[self.ITEM_ID] - 1  # type: ignore[attr-defined]
        index = self.index()
        with torch.no_grad():
            if type(index).score is Index.score:
                return (index.query(user, history) * index.items[item]).sum(1).float()
            return index.score(user, history).gather(1, item.unsqueeze(1)).squeeze(1).float()

    def index(self) -> Index:
        """A picture of the recommender as it is now."""
        tensors = [*self.recommender.parameters(), *self.recommender.buffers()]
        stamp = [(tensor.data_ptr(), tensor._version) for tensor in tensors]
        if self._picture is None or self._picture[0] != stamp or self.training:  # type: ignore[attr-defined]
            was_training = self.recommender.training
            self.recommender.eval()
            with torch.no_grad():
                self._picture = stamp, self.recommender.index()
            self.recommender.train(was_training)
        return self._picture[1]

    def batch(self, interaction: Any) -> Any:
        """A batch of RecBole's loader in our terms."""
        raise NotImplementedError

    def query(self, interaction: Any) -> tuple[Tensor, Ragged]:
        """Users [B] and their histories; RecBole's padding user becomes an unknown one."""
        raise NotImplementedError


class GeneralAdapter(Adapter, GeneralRecommender):
    """A model of users and items."""

    def batch(self, interaction: Any) -> Triples:
        """Users, what they touched, and a negative each; RecBole repeats a row for each further negative."""
        user, item, negative = (interaction[field] - 1 for field in (self.USER_ID, self.ITEM_ID, self.NEG_ITEM_ID))
        return Triples(user, item, negative.unsqueeze(1))

    def query(self, interaction: Any) -> tuple[Tensor, Ragged]:
        """Users [B], and their training events if the model reads any (EASE, ItemKNN)."""
        user = interaction[self.USER_ID] - 1
        if not self.index().length:
            return user, no_items(len(user), user.device)
        return user, self.histories.take(user.cpu() % self.histories.num_rows).to(user.device)


class SequentialAdapter(Adapter, SequentialRecommender):
    """A model of histories."""

    def batch(self, interaction: Any) -> Sequences:
        """Histories and what came next, with a negative each if the loader drew one."""
        user, history = self.query(interaction)
        target = interaction[self.ITEM_ID] - 1
        drawn = self.NEG_ITEM_ID in interaction
        negative = (interaction[self.NEG_ITEM_ID] - 1).unsqueeze(1) if drawn else target.new_empty(len(target), 0)
        if isinstance(self.recommender, SequenceRecommender) and self.recommender.negatives and not drawn:
            loss = self.recommender.config.loss
            raise InputError(f"loss: {loss} compares with sampled items, but train_neg_sample_args draws none")
        return Sequences(user, history, target, negative)

    def query(self, interaction: Any) -> tuple[Tensor, Ragged]:
        """Users [B] and the items before, oldest first, as many as the model reads."""
        history = unpadded(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        user = interaction[self.USER_ID] - 1
        learner = self.recommender
        return user, history.last(learner.config.max_length) if isinstance(learner, SequenceRecommender) else history


def unpadded(items: Tensor, lengths: Tensor) -> Ragged:
    """RecBole's [B, L] ids from 1, 0 behind them, and their numbers [B] -> rows of ids from 0."""
    shown = torch.arange(items.shape[1], device=items.device) < lengths.unsqueeze(1)
    return Ragged(items[shown] - 1, offsets_of(lengths.long()))


def model_class(model: str, /, **hyper: Any) -> type[Any]:
    """A class of ours that RecBole takes for one of its own; see `recsys.integrations.recbole`.

    Args:
        model: the name of the model ("DCCF") or its kind in YAML ("dccf").
        hyper: keys of the model, which a RecBole configuration may still change.

    Raises:
        InputError: there is no such model, or it has no such key.
    """
    kind = kind_of_model(model)
    made = make_class(kind, named_hyper(MODELS[kind], hyper))
    register(made)
    return made


def make_class(kind: str, hyper: Mapping[str, Any]) -> type[Any]:
    """The class, not yet known to RecBole."""
    recommender = MODELS[kind]
    name, task = recbole_name(kind), recommender.task
    home = f"recbole.model.{task}_recommender.{name.lower()}"
    base = GeneralAdapter if task == "general" else SequentialAdapter
    content = {"kind": kind, "hyper": dict(hyper), "recommender_class": recommender, "home": home}
    return AdapterType(name, (base,), {**content, "__module__": home, "__doc__": recommender.__doc__})


def class_of(kind: str, hyper: Mapping[str, Any]) -> type[Any]:
    """The class of a checkpoint; RecBole finds it by name from now on."""
    return model_class(kind, **hyper)


def _reduced(made: Any) -> Any:
    return (class_of, (made.kind, dict(made.hyper))) if "kind" in vars(made) else made.__qualname__


copyreg.pickle(AdapterType, _reduced)
