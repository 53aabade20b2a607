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

        It starts in the root of the repository, so that what the environment says of folders is made absolute.
        """
        data = os.environ.get("GRAPHCL_DATA")
        with log.open("a") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
                cwd=Path(__file__).parents[1],
                env=os.environ | ({"GRAPHCL_DATA": str(Path(data).resolve())} if data else {}),
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
