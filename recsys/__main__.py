"""The command `recsys`, also as `python -m recsys`."""

import os


def main() -> None:
    """Run the command line."""
    # Read once, when torch loads OpenMP: threads that spin while they wait cost a busy machine many times their work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from recsys.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
