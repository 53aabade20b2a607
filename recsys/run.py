"""A trained recommender and its folder: evaluate, recommend, export."""

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from graphcl.errors import InputError
from graphcl.training import checkpoint
from graphcl.training.state import BEST
from recsys import folder as files
from recsys.data.interactions import Split
from recsys.data.ragged import Ragged
from recsys.data.store import read_split
from recsys.evaluation.lists import best_lists
from recsys.experiment import Experiment
from recsys.models.base import UNKNOWN_USER, Index, Recommender

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A trained recommender. Its folder holds everything it needs; the data set's files do not."""

    folder: Path
    experiment: Experiment
    split: Split = field(repr=False)
    model: Recommender = field(repr=False)

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        """The run in `folder`, with its best weights; those so far, and a warning, if its training has not ended.

        Raises:
            InputError: the folder, the configuration or the checkpoint is missing, damaged, or of another model, or
                the run is one of an embedder.
        """
        folder = Path(folder)
        if not (folder / files.CONFIG).is_file():
            raise InputError(f"{folder}: not a run folder, it has no {files.CONFIG}; 'recsys train' names the folder")
        files.refuse_embedder(folder)
        experiment = Experiment.load(folder / files.CONFIG)
        if experiment.settings.device == "cuda" and not torch.cuda.is_available():
            experiment = Experiment.load(folder / files.CONFIG, ["device=cpu"])  # trained elsewhere, good anywhere
        split = read_split(folder / files.DATA)
        model = experiment.build(split.train)
        checkpoint.load_weights(model, checkpoint.load(folder / BEST)[0], folder / BEST)
        if not (folder / files.RESULT).exists():
            logger.warning("%s: the training has not ended, these are its best weights so far; see --resume", folder)
        return cls(folder, experiment, split, model.eval())

    @cached_property
    def result(self) -> dict[str, Any]:
        """What the training ended with: test metrics, the popularity floor, best epoch; {} if it did not end."""
        return files.read_json(self.folder / files.RESULT)

    @cached_property
    def history(self) -> Ragged:
        """All that is known of each user, oldest first."""
        return (self.split.train + self.split.valid + self.split.test).histories

    def evaluate(
        self,
        part: Literal["valid", "test"] = "test",
        names: Sequence[str] | None = None,
        *,
        mask_history: bool | None = None,
    ) -> dict[str, float]:
        """The metrics of a part, by default those of the configuration.

        Raises:
            InputError: a part or a metric is unknown, or a list would be longer than the catalogue.
        """
        if isinstance(names, str):
            raise InputError(f"names: {names!r} is one text; give a list of metrics, such as {[names]!r}")
        names = names or self.experiment.evaluation.report
        return self.experiment.measure(self.model, self.split, part, names, mask_history=mask_history)

    def recommend(
        self,
        *,
        users: Sequence[str] = (),
        histories: Sequence[Sequence[str]] = (),
        k: int = 10,
        include_seen: bool = False,
    ) -> pd.DataFrame:
        """The k items that each user, or somebody with each history, would like best.

        Args:
            users: raw ids; all that is known of them is their history.
            histories: raw item ids, oldest first, of people who need not be in the data.
            k: how many items for each.
            include_seen: whether items of the history may come again.

        Returns:
            columns `query` (user id or "history 1", ...), `rank` (from 1), `item` (raw id), `score`.

        Raises:
            InputError: an id is unknown, k is too large, or nothing unseen is left.
        """
        if not 1 <= k <= self.model.num_items:
            raise InputError(f"k: must be in 1..{self.model.num_items}, the size of the catalogue, got {k}")
        for what, ids in (("users", users), *(("histories", history) for history in (histories, *histories))):
            if isinstance(ids, str):
                raise InputError(f"{what}: {ids!r} is one text; give a list of ids, such as {[ids]!r}")
        rows = [position(self.user_positions, user, "user") for user in users]
        given = [[position(self.item_positions, item, "item") for item in history] for history in histories]
        names = [*users, *(f"history {number + 1}" for number in range(len(histories)))]
        if not names:
            raise InputError("nobody to recommend to; give a user's id or a history of item ids")
        user = torch.tensor(rows + [UNKNOWN_USER] * len(given), dtype=torch.long)
        history = self.history.take(user[: len(rows)]).join(Ragged.of(given))
        index = self.model.index()
        shown = self.experiment.candidates(self.split)
        scores, items = best_lists(
            index, user.to(self.model.device), history, k, include_seen=include_seen, candidates=shown
        )
        nothing = (scores[:, 0] == -torch.inf).nonzero()
        if len(nothing):
            raise InputError(
                f"{names[int(nothing[0])]}: has seen every item, nothing is left to recommend; allow seen items "
                f"(include_seen)"
            )
        frame = pd.DataFrame(
            {
                "query": [name for name in names for _ in range(k)],
                "rank": [*range(1, k + 1)] * len(names),
                "item": items.flatten().tolist(),
                "score": scores.flatten().tolist(),
            }
        )
        frame = frame[frame["score"] != float("-inf")].reset_index(drop=True)
        return frame.assign(item=[self.item_name(item) for item in frame["item"]])

    def export(self, target: str | Path) -> list[Path]:
        """Write item and user vectors, each to Parquet (raw id, vector) and npy; a score is their dot product.

        Raises:
            InputError: the model has no such vectors, or the folder cannot be written.
        """
        target = Path(target)
        with torch.no_grad():
            index = self.model.index()
            if type(index).score is not Index.score:
                raise InputError(
                    f"{self.experiment.kind}: has no vectors to export, its scores are no inner products; "
                    f"ask 'recsys recommend' for its lists"
                )
            everyone = torch.arange(self.model.num_users, device=self.model.device)
            history = self.history.last(index.length) if index.length else self.history
            users = index.ask(everyone, history.to(self.model.device))
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{target}: cannot be made ({error.strerror}); name a writable folder") from error
        written = []
        for name, vectors, names in (("items", index.items, self.item_name), ("users", users, self.user_name)):
            array = vectors.float().cpu().numpy()
            frame = pd.DataFrame({"id": [names(row) for row in range(len(array))], "vector": list(array)})
            plain = io.BytesIO()
            np.save(plain, array)
            for suffix, content in ((".parquet", frame.to_parquet()), (".npy", plain.getvalue())):
                checkpoint.write_atomically(target / f"{name}{suffix}", content)
                written.append(target / f"{name}{suffix}")
        return written

    @cached_property
    def user_positions(self) -> Mapping[str, int]:
        """Raw user id -> number."""
        return positions(self.split.train.user_ids, self.model.num_users)

    @cached_property
    def item_positions(self) -> Mapping[str, int]:
        """Raw item id -> number."""
        return positions(self.split.train.item_ids, self.model.num_items)

    def item_name(self, item: int) -> str:
        """The raw id of an item."""
        return self.split.train.item_ids[item] if self.split.train.item_ids else str(item)

    def user_name(self, user: int) -> str:
        """The raw id of a user."""
        return self.split.train.user_ids[user] if self.split.train.user_ids else str(user)


def positions(ids: tuple[str, ...] | None, count: int) -> dict[str, int]:
    """Raw id -> number; the numbers themselves where the source had no ids."""
    return {name: number for number, name in enumerate(ids or map(str, range(count)))}


def position(known: Mapping[str, int], name: str, what: str) -> int:
    """The number of a raw id.

    Raises:
        InputError: the id is not in the data.
    """
    try:
        return known[str(name)]
    except KeyError:
        some = ", ".join(list(known)[:3])
        raise InputError(f"{what} {name!r} is not in the data; known ids look like {some}, ...") from None
