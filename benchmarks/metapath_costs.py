"""What the `metapath` page says besides results: weights while training, costs, origins of the records."""

import statistics

from benchmarks.metapath_record import Made, Record
from benchmarks.report_document import Grid


def spread(made: Made) -> Grid:
    """How the pair weights fare while training, of the first seed of each AdaMEOW row."""
    lines = []
    for row, records in made:
        for record in records[:1]:
            points = [point for point in record.curve if "weight_mean" in point]
            for point in points[:1] + points[len(points) // 2 : len(points) // 2 + 1] + points[-1:]:
                cells = (point["weight_mean"], point["weight_std"], point["weight_row_std"], point["loss"])
                lines.append((row.settings.title, f"{point['epoch']:.0f}", *(f"{value:.4f}" for value in cells)))
    caption = (
        "First seed. Nothing anchors the weights of the published form: their mean falls, and the training loss with "
        "it by a constant, which says nothing about the vectors. Scaled to mean 1 per row in the loss, they may drift "
        "without effect."
    )
    return Grid(("", "epoch", "mean weight", "sd over pairs", "sd over rows' means", "loss"), tuple(lines), caption)


def cost(made: Made) -> Grid:
    """Seconds and memory, by kind of machine."""
    lines = []
    for row, records in made:
        for machine in sorted({machine_of(record) for record in records}):
            here = [record for record in records if machine_of(record) == machine]
            per_epoch = statistics.fmean(record.train_cpu_seconds / record.epochs for record in here)
            total = statistics.fmean(record.train_cpu_seconds for record in here)
            prepare = statistics.fmean(record.prepare_cpu_seconds for record in here)
            memory = max(record.peak_memory_mib for record in here)
            numbers = (f"{prepare:.1f}", str(here[0].epochs), f"{per_epoch:.2f}", f"{total:.0f}", f"{memory:,}")
            lines.append((row.settings.title, machine, str(len(here)), *numbers))
    seconds = ("preparation, CPU s", "epochs", "CPU s per epoch", "training, CPU s")
    caption = (
        "One thread; the looks at validation nodes are counted in, the final judging is not. A GPU is named where the "
        "machine has one; where it was used, the CPU seconds are those of launching its work. Older records do not say "
        "whether it was."
    )
    return Grid(("", "on", "seeds", *seconds, "peak memory, MiB"), tuple(lines), caption, text=frozenset({0, 1}))


def machine_of(record: Record) -> str:
    """The GPU of the machine that a training ran on, or "CPU" where it has none or was told not to use it."""
    if record.environment.get("device") == "cpu":
        return "CPU"
    return record.environment.get("machine", {}).get("gpu") or "CPU"


def origins(made: Made) -> Grid:
    """Code, machine and data of the records, and how many there are of each."""
    found: dict[tuple[str, ...], int] = {}
    for _, records in made:
        for record in records:
            machine, packages = record.environment.get("machine", {}), record.environment.get("packages", {})
            told = (
                record.commit,
                f"torch {packages['torch']}" if "torch" in packages else "not recorded",
                f"{machine['system']}, GPU {machine['gpu'] or 'none'}" if machine else "not recorded",
            )
            found[told] = found.get(told, 0) + 1
    lines = tuple((*told, str(count)) for told, count in found.items())
    return Grid(("commit", "versions", "machine", "records"), lines, text=frozenset({0, 1, 2}))
