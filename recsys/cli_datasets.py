"""`recsys datasets`: what is in datasets.yaml, and whether it is here."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table

from recsys.console import console
from recsys.data.catalog import files, load_split, verify
from recsys.data.entries import Entry, Source, catalogue, catalogue_path, find_entry
from recsys.data.fetch import data_home, downloadable, present

app = typer.Typer(help="List, prepare and check data sets.", no_args_is_help=True, pretty_exceptions_enable=False)

Name = Annotated[str, typer.Argument(metavar="NAME", help="a name from 'recsys datasets list'")]


@app.command("list")
def list_entries() -> None:
    """List every data set that datasets.yaml knows, and where it is."""
    table = Table(caption=f"{catalogue_path()}; files in {data_home()}", caption_justify="left")
    table.add_column("name", no_wrap=True)
    for column in ("users", "items", "interactions"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("where", no_wrap=True)
    for name, entry in catalogue().items():
        counts = (entry.expect.users, entry.expect.items, entry.expect.interactions)
        shown = ("", entry.kind, "") if entry.kind != "interactions" else (f"{n:,}" if n else "" for n in counts)
        table.add_row(name, *shown, whereabouts(name, entry))
    console.print(table)


@app.command()
def prepare(name: Name) -> None:
    """Find or download NAME, and check its hashes, counts and splits."""
    found = files(name)
    for path in found.values():
        console.print(str(path), soft_wrap=True, highlight=False)
    report(name)


@app.command("verify")
def verify_entry(name: Name) -> None:
    """Check the files of NAME that are here against everything that datasets.yaml records; nothing is downloaded."""
    verify(name)
    report(name)


@app.command()
def describe(name: Name) -> None:
    """Say what NAME is: source, terms, counts, filters, splits."""
    entry = find_entry(name)
    table = Table(show_header=False, title=name, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for title, text in (
        ("title", entry.title),
        ("terms", entry.licence),
        ("origin", entry.origin),
        ("note", entry.note),
    ):
        if text:
            table.add_row(title, text)
    if entry.kind == "interactions":
        counts = vars(entry.expect).items()
        table.add_row("counts", ", ".join(f"{number:,} {what}" for what, number in counts if number is not None))
        table.add_row("filters", ", ".join(map(terms, entry.filters)) or "none")
    for which, named in entry.splits.items():
        sizes = [f"{size:,} {part}" for part in ("train", "valid", "test") if (size := vars(named)[part]) is not None]
        identity = [f"identity {named.digest}"] if named.digest else []
        default = " (default)" if which == next(iter(entry.splits)) else ""
        table.add_row(f"split {which}{default}", "; ".join([terms(named.rule), *sizes, *identity]))
    for source in entry.sources:
        table.add_row("source", "\n".join(describe_source(source)))
    table.add_row("where", whereabouts(name, entry))
    console.print(table)


def report(name: str) -> None:
    """Say what was checked."""
    entry = find_entry(name)
    for which, named in entry.splits.items():
        split = load_split(name, split=which)
        state = "as recorded" if named.digest else "counts as recorded, its identity is not recorded yet"
        sizes = f"train {len(split.train):,}, valid {len(split.valid):,}, test {len(split.test):,}"
        console.print(f"{name} {which}: {sizes}; identity {split.digest}, {state}", soft_wrap=True, highlight=False)
        console.print(f"  {split.protocol['cold']}", soft_wrap=True, highlight=False)
    if not entry.splits:
        console.print(f"{name}: {len(entry.sources[0].files)} files, hashes as recorded", highlight=False)


def whereabouts(name: str, entry: Entry) -> str:
    """Where the files are, or how they can be had."""
    found = next(filter(None, (present(name, source) for source in entry.sources)), None)
    if found is None:
        return "to download" if any(map(downloadable, entry.sources)) else "by hand"
    return "here" if all(path.parent == data_home() / name for path in found.values()) else "in a package"


def describe_source(source: Source) -> list[str]:
    """The lines that tell what a source's files are."""
    lines = [source.note] if source.note else []
    for file, spec in source.files.items():
        address = spec.url or (f"package {spec.package}: {spec.member}" if spec.package else "no address")
        known = f"sha256 {spec.sha256}" if spec.sha256 else spec.archive or "known by its content"
        lines.append(f"{file}: {address} ({known})")
    return lines if source.checked else [*lines, "these very files were not read here; their content will be checked"]


def terms(tree: Mapping[str, Any]) -> str:
    """A rule as it stands in the file: kind and keys."""
    return ", ".join(f"{key} {value}" for key, value in tree.items())
