"""Where the command lines print. A text stands as it is: `[a]` is no markup, `:100:` no picture."""

from rich.console import Console

console = Console(markup=False, emoji=False)
stderr = Console(stderr=True, markup=False, emoji=False)
