"""The progress bar of the commands that train."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from recsys.console import stderr


class Bar:
    """A progress bar that is an epoch long and shows the last evaluation behind it."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task = progress.add_task("preparing data", total=None, note="")

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self.progress.console.print(line, soft_wrap=True, highlight=False)

    def started(self, folder: Path) -> None:
        """Name the run folder, so that it is known even if the training is interrupted."""
        self.say(f"run folder: {folder}")

    def track(self, batches: Iterable[Any], total: int, title: str) -> Iterator[Any]:
        """Count the batches of an epoch."""
        self.progress.reset(self.task, total=total, description=title)
        for batch in batches:
            yield batch
            self.progress.advance(self.task)

    def note(self, record: dict[str, Any]) -> None:
        """Show the first metric of the last evaluation: the one that decides."""
        for name, value in list(record.get("metrics", {}).items())[:1]:
            self.progress.update(self.task, note=f"valid {name} {value:.4f}")


@contextmanager
def bar(how_to_go_on: str) -> Iterator[Bar]:
    """A bar on stderr; an interruption from the keyboard ends the program with status 130 and `how_to_go_on`."""
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=stderr,
    ) as progress:
        try:
            yield Bar(progress)
        except KeyboardInterrupt:
            stderr.print(f"interrupted; {how_to_go_on}")
            raise typer.Exit(130) from None
