"""Where the numbers of a report are from: data, selection, search, machines, code."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from benchmarks.report_document import Grid, Section
from benchmarks.summary import Summary, percent


def protocol(summary: Summary) -> Section:
    """Data, selection, search, machines, code."""
    table = summary.board.table
    record = next(iter(summary.records.values()), None)
    facts = dict(record.protocol) if record else {}
    facts["split's hash"] = table.digest or (record.split if record else "not known here")
    facts["masking"] = "; ".join(f"{rule}: {table.words(rule)}" for rule in table.masking)
    chosen = f"highest {table.monitor} on validation" if table.selection == "valid" else "lowest training loss"
    facts["epoch"] = f"the one of {chosen}"
    again = [summary.title(row) for row, line in summary.rows.items() if line.tested_before]
    facts["test part"] = "looked at once for each configuration" + (
        f"; configured anew after earlier test values had been seen: {', '.join(again)}" if again else ""
    )
    search = table.search
    searched = {row: found for row in summary.rows if (found := summary.board.found(row))}
    tried = any(line.by_hand for line in summary.rows.values())
    by_hand = ", some after trainings by hand (Costs says how many)" if tried else ""
    facts["search"] = (
        f"{span(found.trials for found in searched.values())} trials on validation for each of "
        f"{', '.join(map(summary.title, searched))}; up to {span(found.epochs for found in searched.values())} "
        f"epochs, patience {search.patience}: {inline(search.space)}"
        if searched
        else f"none was made; rows stand as written{by_hand}"
    )
    own = [f"{summary.title(row)}: {inline(summary.rows[row].search)}" for row in searched if summary.rows[row].search]
    if own:
        facts["search of single rows"] = "; ".join(own)
    facts["tolerance"] = f"{percent(table.tolerance)} of a published value"
    facts["cost of the table"] = table.cost or "not estimated"
    commits = dict.fromkeys(name for r in summary.records.values() for name in r.commit.split(", "))
    facts["commits"] = ", ".join(commits) or "none"
    for number, (machine, cells) in enumerate(summary.hardware().items(), 1):
        facts[f"machine {number}"] = f"{machine} ({cells} cells)"
    return Section("Protocol", [Grid(("", ""), tuple(facts.items()), text=frozenset({0, 1}))])


def span(numbers: Iterable[int]) -> str:
    """`8`, or `8 to 10` where they differ."""
    found = sorted(set(numbers))
    return " to ".join(map(str, dict.fromkeys((found[0], found[-1]))))


def inline(tree: Any) -> str:
    """Keys and values in one line of YAML, numbers with four digits."""
    text = yaml.safe_dump(rounded(tree), default_flow_style=True, sort_keys=False, width=10**6).strip()
    return text.removeprefix("{").removesuffix("}")


def rounded(tree: Any) -> Any:
    """The same tree with shorter numbers."""
    if isinstance(tree, Mapping):
        return {key: rounded(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [rounded(value) for value in tree]
    return float(f"{tree:.4g}") if isinstance(tree, float) else tree
