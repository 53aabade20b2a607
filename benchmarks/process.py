"""A cell in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def run_module(arguments: Sequence[str], log: Path, lock: int) -> int:
    """`python -m` with the arguments, its output in `log`; it holds the lock with us. Returns its exit status.

    It starts in the root of the repository, so that what the environment says of folders is made absolute.
    """
    folders = {"GRAPHCL_DATA": str(Path(os.environ["GRAPHCL_DATA"]).resolve())} if "GRAPHCL_DATA" in os.environ else {}
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(lock,),
            cwd=Path(__file__).parents[1],
            env=os.environ | folders,
        )
        try:
            return process.wait()
        except BaseException:
            process.terminate()
            raise


def last_line(log: Path) -> str:
    """What a process said last."""
    return "".join(log.read_text(errors="replace").strip().splitlines()[-1:])
