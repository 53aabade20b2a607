"""`python -m benchmarks.speed`: time and memory of the parts, beside the forms and libraries they replace.

Each subcommand is a function of one module beside this one, registered in `app`. Timings are ratios within one run:
contestants alternate, and the best of several rounds counts, because other work shares the machine.
"""

import sys

import typer

from benchmarks import (
    speed_dccf,
    speed_dccf_gpu,
    speed_metapath,
    speed_objectives,
    speed_ops,
    speed_recbole,
    speed_scaling,
    speed_sequence,
)
from graphcl.errors import InputError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)


@app.callback()
def _root() -> None:
    """Keep subcommands named even while there is one."""


app.command("objectives")(speed_objectives.main)
app.command("dccf")(speed_dccf.main)
app.command("dccf-gpu")(speed_dccf_gpu.main)
app.command("metapath")(speed_metapath.main)
app.command("ops")(speed_ops.main)
app.command("recbole")(speed_recbole.main)
app.command("scaling")(speed_scaling.main)
app.command("sequence")(speed_sequence.main)


if __name__ == "__main__":
    try:
        app()
    except InputError as error:
        sys.exit(f"error: {error}")
