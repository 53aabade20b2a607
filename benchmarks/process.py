"""A cell in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

Cell = TypeVar("Cell")


class Processes:
    """Cells in processes of their own, all of which can be ended at once."""

    def __init__(self) -> None:
        self.running: set[subprocess.Popen[bytes]] = set()
        self.ended = False

    def run(self, arguments: Sequence[str], log: Path, lock: int) -> int:
        """`python -m` with the arguments, its output in `log`; it holds the lock with us. Returns its exit status.

        It starts where we are, so that relative paths mean the same, and finds the packages where we found them.
        """
        places = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        with log.open("a") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
                env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
            )
            self.running.add(process)
            if self.ended:
                process.terminate()
            status = process.wait()
        self.running.discard(process)
        return status

    def end(self) -> None:
        """Terminate what runs; nothing that starts later lives on."""
        self.ended = True
        for process in list(self.running):
            process.terminate()


def in_parallel(work: Callable[[Cell, Processes], int], cells: Sequence[Cell], jobs: int) -> list[int]:
    """`work` on every cell, `jobs` at a time; returns the exit statuses.

    An interruption reaches the main thread alone, and perhaps this process alone: it ends the others, whose
    checkpoints stay. So does a request to terminate. Call it from the main thread.
    """
    processes = Processes()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ThreadPoolExecutor(jobs) as pool:
        try:
            return list(pool.map(lambda cell: work(cell, processes), cells))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            processes.end()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)


def last_line(log: Path) -> str:
    """What a process said last."""
    return "".join(log.read_text(errors="replace").strip().splitlines()[-1:])
