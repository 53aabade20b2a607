"""Where things lie: definitions of tables, what searches have found, records, run folders."""

from dataclasses import dataclass
from pathlib import Path

from graphcl.errors import InputError


@dataclass(frozen=True)
class Home:
    """Where tables, configurations and results lie."""

    root: Path = Path(__file__).parent

    def table(self, name: str) -> Path:
        """The definition of a table."""
        return self.root / "tables" / f"{name}.yaml"

    def found(self, table: str, row: str) -> Path:
        """What the search has found for a row."""
        return self.root / "configs" / table / f"{row}.yaml"

    def results(self, table: str) -> Path:
        """Its records, which are committed."""
        return self.root / "results" / table

    def runs(self, table: str) -> Path:
        """Its run folders, which are not."""
        return self.root / "runs" / table

    def superseded(self, table: str) -> Path:
        """Where records go that do not fit the table any more."""
        return self.runs(table) / "superseded"

    def names(self) -> list[str]:
        """Every table there is.

        Raises:
            InputError: this is no folder of benchmarks.
        """
        if not (self.root / "tables").is_dir():
            raise InputError(f"{self.root}: has no folder 'tables' in it; --home names the folder of the benchmarks")
        return sorted(path.stem for path in (self.root / "tables").glob("*.yaml"))
