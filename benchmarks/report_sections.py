"""What a report says: every section is made from records, and says what is missing."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from benchmarks.report_document import ABSENT, Document, Figure, Grid, Part, Section
from benchmarks.report_plots import Plots
from benchmarks.report_protocol import inline, protocol
from benchmarks.summary import NO_SEARCH, Summary, percent, significant
from benchmarks.table import Masking
from benchmarks.verify import Verdict, count, in_words, verify
from recsys.evaluation.significance import Comparison

LEVEL = 0.05


@dataclass(frozen=True)
class Sections:
    """The report of a table, section by section."""

    summary: Summary

    def document(self) -> Document:
        """All of it."""
        table = self.summary.board.table
        done, wanted = self.progress()
        sections = [self.results(rule) for rule in table.masking]
        sections += [self.published(), self.training(), self.by_activity(), self.by_popularity()]
        sections += [self.costs(), self.configurations(), protocol(self.summary)]
        lead = f"Split {table.digest or 'not checked by anybody here'}; {done} of {wanted} cells run."
        return Document(table.title, " ".join([lead, table.note]).strip(), [s for s in sections if s.parts])

    def progress(self) -> tuple[int, int]:
        """Cells with a record, cells of the table."""
        board = self.summary.board
        wanted = {(row, seed) for row in self.summary.rows for seed in board.seeds(row, board.table.seeds)}
        return len(wanted & set(self.summary.records)), len(wanted)

    def results(self, rule: Masking) -> Section:
        """Test metrics by one masking rule, the bars, and the comparisons."""
        parts: list[Part] = [self.leaderboard(rule)]
        if self.summary.records:
            level = self.summary.board.table.confidence
            parts.append(
                Figure(
                    Plots(self.summary, rule).bars(),
                    f"Bars: mean over seeds; lines: {percent(level)} bootstrap interval over users; dots: seeds. "
                    f"Grey: learned without contrast.",
                )
            )
            parts += self.comparisons(rule)
        return Section(f"Test, {self.summary.board.table.words(rule)}", parts)

    def leaderboard(self, rule: Masking) -> Grid:
        """Rows down, metrics across; the best of each column stands out, unless seeds that are to run may change it."""
        table, summary = self.summary.board.table, self.summary
        values = {row: [summary.value(row, rule, metric) for metric in table.metrics] for row in summary.rows}
        names, best = list(summary.rows), set()
        for column in range(len(table.metrics)):
            reached = {
                number: value.mean
                for number, cells in enumerate(values.values())
                if (value := cells[column]) is not None
            }
            if reached and len(reached) == len(values):
                top = max(reached.values())
                leaders = (n for n, mean in reached.items() if mean == top)
                best |= {(n, column + 1) for n in leaders if summary.complete(names[n])}
        rows = tuple(
            (
                summary.title(row),
                *(ABSENT if value is None else str(value) for value in cells),
                self.seeds(row),
            )
            for row, cells in values.items()
        )
        users = f" of {summary.users:,} users" if summary.users else ""
        caption = f"Mean{users}, ± standard deviation over seeds; {table.words(rule)}."
        return Grid(("", *table.metrics, "seeds"), rows, caption, frozenset(best))

    def seeds(self, row: str) -> str:
        """How many of the seeds that a row should have were run."""
        told = in_words(self.summary.done(row), self.summary.wanted(row), self.summary.others(row))
        return re.sub(" seeds?", "", told)

    def comparisons(self, rule: Masking) -> Iterator[Part]:
        """Each row against the best baseline, user by user, and which could not be compared."""
        found = self.summary.comparisons[rule]
        best = self.summary.best_baseline(rule)
        if not found or best is None:
            yield "No row is compared with a baseline: there is none, or none has a record."
            return
        table = self.summary.board.table
        rows = tuple(
            (
                self.summary.title(row),
                f"{c.difference:+.4f}",
                f"{c.low:+.4f} to {c.high:+.4f}",
                f"{c.effect:+.3f}",
                significant(c.p),
                significant(c.p_holm),
                self.seeds(row),
                self.finding(row, best, rule, c),
            )
            for row, c in found.items()
        )
        header = (
            "",
            f"{table.monitor}, difference",
            f"{percent(table.confidence)} interval",
            "d",
            "p",
            "p, Holm",
            "seeds",
            "",
        )
        made = "one comparison" if len(found) == 1 else f"the {len(found)} comparisons"
        caption = (
            f"Against {self.summary.title(best)}, the baseline of highest {table.monitor} on test: differences of each "
            f"user's mean over seeds. Interval: bootstrap over users; d: Cohen's, of paired differences; p: paired "
            f"t-test; Holm: corrected for {made}. All this is of users and knows nothing of how "
            f"far one training lies from the next: better or worse means a corrected p below {LEVEL} and every seed of "
            f"the one above every seed of the other; a row with seeds still to run is not judged, "
            f"nor any while a baseline has some."
            f"{self.budgets([*found, best])}"
        )
        yield Grid(header, rows, caption, text=frozenset({0, 7}))
        if missing := self.summary.not_compared(rule):
            names = ", ".join(map(self.summary.title, missing))
            yield f"Not compared, because their values are of other users: {names}."

    def budgets(self, rows: Iterable[str]) -> str:
        """A warning where some of the rows were searched, or trained, more than others."""
        rows, board = list(rows), self.summary.board
        made = {trials for row in rows if (trials := self.summary.trials(row)) != NO_SEARCH}
        told = " Their budgets differ: Costs has the trials that chose each row." if len(made) > 1 else ""
        limits = [board.experiment(row, 0).training for row in rows if board.draws(row)]
        if len({(limit.epochs, limit.patience) for limit in limits}) > 1:
            told += " Nor may all take as many epochs, or wait as long for a better one: Configurations."
        return told

    def finding(self, row: str, best: str, rule: Masking, comparison: Comparison) -> str:
        """What a comparison says in a word."""
        if not self.summary.complete(row):
            return "not judged: seeds to run"
        if self.summary.open_baselines:
            return "not judged: a baseline has seeds to run"
        if not comparison.p_holm < LEVEL:
            return "no difference shown"
        ours, theirs = (self.summary.value(name, rule, self.summary.board.table.monitor) for name in (row, best))
        assert ours is not None and theirs is not None
        if min(ours.seeds) <= max(theirs.seeds) and min(theirs.seeds) <= max(ours.seeds):
            return "no difference shown: seeds overlap"
        return "better" if comparison.difference > 0 else "worse"

    def published(self) -> Section:
        """Published values: beside ours where they may be, else why not."""
        verdicts = list(verify(self.summary))
        if not verdicts:
            return Section("", [])
        table = self.summary.board.table
        parts: list[Part] = [f"{count(verdicts)}; reproduced means within {percent(table.tolerance)}."]
        shown = [verdict for verdict in verdicts if verdict.ours is not None]
        if again := dict.fromkeys(v.row for v in shown if self.summary.rows[v.row].tested_before):
            names = ", ".join(map(self.summary.title, again))
            parts.append(f"Configured anew after test values of theirs had been seen (Configurations): {names}.")
        for row in dict.fromkeys(v.row for v in shown):
            if mended := self.summary.rows[row].outdated:
                parts.append(f"By code that was mended since: {self.summary.title(row)}. {mended}.")
        if shown:
            rows = tuple(
                (self.summary.title(v.row), v.metric, str(v.ours), f"{v.published:.4f}", v.reason, v.status, v.source)
                for v in shown
            )
            header = ("", "metric", "ours", "published", "difference", "verdict", "source")
            caption = "Only values of the same split, the same masking rule, and an epoch chosen without the test part."
            parts.append(Grid(header, rows, caption, text=frozenset({0, 1, 5, 6})))
            notes = {block.source: block.note for block in table.published if block.note}
            parts += [
                f"- {source}: {notes[source]}." for source in dict.fromkeys(v.source for v in shown) if source in notes
            ]
        parts += self.apart([verdict for verdict in verdicts if verdict.ours is None])
        return Section("Published values", parts)

    def apart(self, verdicts: Sequence[Verdict]) -> Iterator[Grid]:
        """The values that stand beside none of ours, by source and reason."""
        if not verdicts:
            return
        notes = {block.source: block.note for block in self.summary.board.table.published}

        def kind(verdict: Verdict) -> tuple[str, str, str]:
            return verdict.source, verdict.status, verdict.reason

        rows = []
        for (source, status, reason), group in groupby(sorted(verdicts, key=kind), key=kind):
            names = dict.fromkeys(self.summary.title(verdict.row) for verdict in group)
            rows.append((source, ", ".join(names), status, reason, notes.get(source, "")))
        yield Grid(
            ("source", "rows", "verdict", "reason", "note"),
            tuple(rows),
            "Published values that stand beside none of ours.",
            text=frozenset(range(5)),
        )

    def training(self) -> Section:
        """Curves, and what quality costs."""
        if not self.summary.records:
            return Section("", [])
        plots = Plots(self.summary, self.summary.board.table.masking[0])
        curves = plots.curves()
        caption = (
            "Up and to the left is better; one point for each row and kind of machine, mean over its seeds. "
            "Hollow: trained on a GPU, which can be compared with other hollow points alone."
        )
        parts: list[Part] = [Figure(plots.costs(), caption)]
        if curves:
            caption = "Mean over the seeds that were still training; closed forms have no curve."
            parts.insert(0, Figure(curves, caption))
        return Section("Training", parts)

    def by_activity(self) -> Section:
        """Quarters of the users."""
        parts: list[Part] = []
        for rule in self.summary.board.table.masking if self.summary.records else ():
            if (drawing := Plots(self.summary, rule).users()) is not None:
                caption = (
                    f"Users by their events in training, quarter 1 the least active; users of equally many events stay "
                    f"together. {self.summary.board.table.words(rule).capitalize()}. Lines only guide the eye."
                )
                parts.append(Figure(drawing, caption))
        return Section("Users by activity", parts)

    def by_popularity(self) -> Section:
        """Thirds of the items."""
        parts: list[Part] = []
        for rule in self.summary.board.table.masking if self.summary.records else ():
            if (drawing := Plots(self.summary, rule).items()) is not None:
                caption = (
                    f"Items by their events in training: head, middle and tail have a third of all events each. Left: "
                    f"recall over all (user, true item) pairs of a third. Right: what the lists show. "
                    f"{self.summary.board.table.words(rule).capitalize()}."
                )
                parts.append(Figure(drawing, caption))
        return Section("Items by popularity", parts)

    def costs(self) -> Section:
        """What each row takes."""
        costs = [(row, cost) for row in self.summary.rows for cost in list(self.summary.costs(row)) or [{}]]
        header = next((list(cost) for _, cost in costs if cost), None)
        if header is None:
            return Section("", [])
        rows = tuple((self.summary.title(row), *(cost.get(name, ABSENT) for name in header)) for row, cost in costs)
        caption = (
            "Mean over the seeds on one kind of machine, of a whole cell: data, training, validation, test. Peak "
            "memory: the largest of them; kJ: of the processor, whatever else ran; trials: on this data, of the "
            "table's search that gave a value or by hand, 0 where the row is as written, "
            f"{NO_SEARCH} where it has nothing to search."
        )
        return Section("Costs", [Grid(("", *header), rows, caption, text=frozenset({0, 1, len(header)}))])

    def configurations(self) -> Section:
        """What differs from the defaults in each row, and where it is from."""
        board = self.summary.board
        rows = []
        for row, line in self.summary.rows.items():
            tree, found = board.tree(row), board.found(row)
            shared = board.table.training if board.draws(row) else tree["training"]
            keys = tree["model"] | {key: value for key, value in tree["training"].items() if shared.get(key) != value}
            source = f"after {line.by_hand} trainings by hand" if line.by_hand else "as written"
            if found:
                failed = f" ({found.failed} failed)" if found.failed else ""
                source = f"trial {found.best} of {found.trials}{failed}, {found.value:.4f} on validation"
            if line.variant_of:
                source = f"as {self.summary.title(line.variant_of)}"
            if line.tested_before:
                plural = "s" if line.tested_before > 1 else ""
                source += f"; {line.tested_before} earlier configuration{plural} of it had been tested"
            note = ". ".join(filter(None, (line.note, line.outdated)))
            rows.append((self.summary.title(row), inline(keys), source, note))
        caption = f"All rows: {inline(board.table.training)}. Everything else as the library's defaults."
        header = ("", "differs from the defaults", "chosen by", "note")
        return Section("Configurations", [Grid(header, tuple(rows), caption, text=frozenset(range(4)))])
