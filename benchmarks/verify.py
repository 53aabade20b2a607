"""Each published value: reproduced, above, below, or not comparable and why. Never a guess."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from benchmarks.summary import Summary, Value
from benchmarks.table import CANDIDATE_WORDS, MASKING_WORDS, Published, Table

Key = TypeVar("Key", bound=Hashable)
Status = Literal["reproduced", "above", "below", "not comparable", "not run"]

UNFINISHED = "with seeds to run"
ANEW = "configured anew after a look at test"
OUTDATED = "by code that was mended since"


@dataclass(frozen=True)
class Verdict:
    """What we can say of one published value."""

    row: str
    metric: str
    published: float
    source: str
    status: Status
    reason: str
    ours: Value | None = None
    """Only where it may stand beside the published value."""
    word: str = "published"
    """What the other value is called."""
    remarks: tuple[str, ...] = ()
    """What else a reader must know of ours: UNFINISHED, ANEW, OUTDATED."""


def verify(summary: Summary) -> Iterator[Verdict]:
    """A verdict on every published value of a table."""
    table = summary.board.table
    for row, metric, published, block in table.values():
        reason = obstacle(table, row, metric, block)
        if reason:
            yield Verdict(row, metric, published, block.source, "not comparable", reason)
            continue
        assert block.masking is not None
        ours = summary.value(row, block.masking, metric)
        if ours is None:
            yield Verdict(row, metric, published, block.source, "not run", "no record of this row")
            continue
        if block.selection == "last" and (reason := earlier(summary, row)):
            yield Verdict(row, metric, published, block.source, "not comparable", reason)
            continue
        share = (ours.mean - published) / published
        seeds = in_words(summary.done(row), summary.wanted(row), summary.others(row))
        reason = f"{share:+.1%}, {seeds}"
        status = judge(table.tolerance, share)
        yield Verdict(row, metric, published, block.source, status, reason, ours, remarks=remarks_on(summary, row))


def remarks_on(summary: Summary, row: str) -> tuple[str, ...]:
    """What a reader of a verdict must know of the row's records."""
    line = summary.rows[row]
    true = {
        UNFINISHED: not summary.complete(row),
        ANEW: line.tested_before > 0,
        OUTDATED: bool(line.outdated),
    }
    return tuple(remark for remark, holds in true.items() if holds)


def in_words(done: int, wanted: int, others: int = 0) -> str:
    """How many seeds a mean is of, and of how many; those of no number that the table names apart, while some lack."""
    if done == wanted:
        return f"{done + others} seed{'s' if done + others > 1 else ''}"
    return f"{done} of {wanted} seeds" + (f" and {others} not of these" if others else "")


def judge(tolerance: float, share: float) -> Status:
    """How a difference, as a share of the published value, is called."""
    if abs(share) <= tolerance:
        return "reproduced"
    return "above" if share > 0 else "below"


def obstacle(table: Table, row: str, metric: str, block: Published) -> str:  # noqa: PLR0911
    """Why a published value must not stand beside our runs; empty if it may."""
    if row not in table.trained:
        return "this table trains no such row"
    if table.rows[row].differs:
        return table.rows[row].differs
    if table.digest is None:
        return "nobody here has checked that the data is the source's"
    if block.digest is None:
        return "made on another split, or on one that the source does not name"
    if block.digest != table.digest:
        return f"made on the split {block.digest}"
    if block.masking is None:
        return "the source does not say what was masked"
    if block.masking not in table.masking:
        return f"other masking: {MASKING_WORDS[block.masking]}"
    if block.candidates != table.candidates:
        ranked = block.candidates and f"other candidates: {CANDIDATE_WORDS[block.candidates]}"
        return ranked or "the source does not say what was ranked"
    if metric not in table.metrics:
        return f"{metric} is not measured here"
    return other_epoch(table, block)


def other_epoch(table: Table, block: Published) -> str:
    """What is wrong with how a source chose its epoch; empty if ours is chosen so, too."""
    if block.selection is None:
        return "the source does not say how the epoch was chosen"
    if block.selection == "test":
        return "epoch chosen on test"
    # Where the training loss chooses, all passes were made; `earlier` asks whether the last was the one it chose.
    if block.selection != ("valid" if table.selection == "valid" else "last"):
        return f"other epoch: {'the last' if block.selection == 'last' else 'chosen on validation'}"
    return ""


def earlier(summary: Summary, row: str) -> str:
    """Whether the training loss chose another epoch than the last in one of our runs, in words."""
    for record in summary.seeds(row):
        best, last = record.outcome["best_epoch"], record.outcome["last_epoch"]
        if best != last:
            return f"other epoch: the last; ours is {best + 1} of {last + 1}, that of the lowest training loss"
    return ""


def told(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """The verdicts as lines, source by source: one for each value that ours stands beside, one for each reason else."""
    row_width = max((len(verdict.row) for verdict in verdicts), default=0)
    metric_width = max((len(verdict.metric) for verdict in verdicts), default=0)
    for source, of_source in grouped(verdicts, lambda verdict: verdict.source):
        yield f"  {source}"
        for v in of_source:
            if v.ours is not None:
                name = f"{v.row:<{row_width}}  {v.metric:<{metric_width}}"
                reason = "; ".join([v.reason, *(remark for remark in v.remarks if remark != UNFINISHED)])
                yield f"    {v.status:<14}  {name}  {v.ours}, {v.word} {v.published:.4f} ({reason})"
        apart = [verdict for verdict in of_source if verdict.ours is None]
        for (status, reason), alike in grouped(apart, lambda verdict: (verdict.status, verdict.reason)):
            rows = ", ".join(dict.fromkeys(verdict.row for verdict in alike))
            metrics = ", ".join(dict.fromkeys(verdict.metric for verdict in alike))
            yield f"    {status:<14}  {rows} ({metrics}): {reason}"


def grouped(verdicts: Iterable[Verdict], key: Callable[[Verdict], Key]) -> Iterator[tuple[Key, list[Verdict]]]:
    """The verdicts by key, in the order in which the keys first occur."""
    groups: dict[Key, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(key(verdict), []).append(verdict)
    yield from groups.items()


def count(verdicts: Sequence[Verdict]) -> str:
    """How many of each, in words, and how many of them have a remark.

    A value that several sources print counts once: by one that is comparable, and of those by the least flattering.
    """
    flattering: tuple[Status, ...] = ("not comparable", "not run", "reproduced", "above", "below")
    ordered = sorted(verdicts, key=lambda verdict: flattering.index(verdict.status))
    distinct = {(v.row, v.metric, v.published): v for v in ordered}.values()
    parts = []
    for status in get_args(Status):
        alike = [verdict for verdict in distinct if verdict.status == status]
        remarked = Counter(remark for verdict in alike for remark in verdict.remarks)
        if alike:
            told = ", ".join(f"{number} {remark}" for remark, number in sorted(remarked.items()))
            parts.append(f"{len(alike)} {status}" + (f" ({told})" if told else ""))
    return ", ".join(parts) or "no published values"
