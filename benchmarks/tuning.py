"""The same search for every trained row of a table; what it finds is frozen beside the table."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from benchmarks.aside import set_aside
from benchmarks.board import Board
from graphcl.errors import InputError
from graphcl.training.checkpoint import make_folder, write_atomically
from graphcl.training.lock import locked
from recsys.config import dump
from recsys.experiment import Experiment
from recsys.search_space import Space, searchable
from recsys.tune import TRIALS, Found, is_another, search, summary

SEED = 2026
"""Of every search, and of no cell: those of a table begin at 0. (Searches made before 2026-11-28 had seed 0.)"""


def tune_table(
    board: Board,
    rows: Sequence[str],
    trials: int | None = None,
    *,
    budget: float = math.inf,
    device: str = "auto",
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Search each row; write `configs/<table>/<row>.yaml` and keep the trials in `results/<table>/tuning/`.

    Raises:
        InputError: the table has no `search`, a row is unknown, or another runner is at this table.
    """
    wanted = board.table.search
    searching = wanted.space or any(line.search for line in board.table.rows.values())
    if not searching or not (trials or wanted.trials):
        raise InputError(f"table {board.name}: has no block 'search', which says what is searched")
    with locked(board.home.runs(board.name) / ".lock", f"table {board.name}"):
        for row in board.choose(rows):
            if board.table.rows[row].variant_of:
                say(f"{row}: is a variant of {board.table.rows[row].variant_of} and has what is found for that")
                continue
            experiment = board.experiment(row, SEED, device=device, tuned=False)
            space = board.space(row, experiment)
            if not searchable(space, experiment):
                say(f"{row}: has none of the keys that are searched")
                continue
            split = experiment.split()
            board.refuse_other_split(split.digest)
            shorter = replace(experiment.training, epochs=wanted.epochs, patience=wanted.patience)
            experiment = Experiment(
                experiment.settings, experiment.model, experiment.config, shorter, experiment.evaluation
            )
            folder = set_aside_another(board.home.runs(board.name) / "tuning" / row, experiment, space)
            say(f"{row}: searching")
            done = search(
                experiment,
                space,
                folder,
                trials=trials or wanted.trials,
                budget=budget,
                split=split,
                log=lambda trial: say(f"  {trial['number']}: {trial['value']} {trial['keys']}"),
            )
            found = summary(done, experiment)
            keep(board, row, (folder / TRIALS).read_bytes(), found, say)
            say(f"{row}: {board.table.monitor} {found.value:.4f} on validation, trial {found.best} of {found.trials}")


def keep(board: Board, row: str, trials: bytes, found: Found, say: Callable[[str], None]) -> None:
    """Write the trials and what they found beside the table; what else is there is moved to its run folder."""
    kept, target = board.home.results(board.name) / "tuning" / f"{row}.jsonl", board.home.found(board.name, row)
    continued = kept.exists() and trials.startswith(kept.read_bytes())
    if not continued and (kept.exists() or target.exists()):
        moved = set_aside([kept, target], board.home.runs(board.name) / "tuning" / "superseded")
        say(f"{row}: there was another search of it, which is kept as {moved}")
    for place, content in ((kept, trials), (target, yaml.safe_dump(dump(found), sort_keys=False).encode())):
        make_folder(place.parent)
        write_atomically(place, content)


def set_aside_another(folder: Path, experiment: Experiment, space: Space) -> Path:
    """`folder`, after the search of an earlier definition of the row, if it holds one, has been moved beside it."""
    if is_another(folder, experiment, space):
        set_aside([folder], folder.parent)
    return folder
