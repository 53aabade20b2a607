"""Models that learn one vector per node without labels, by name."""

from graphcl.models.adameow import AdaMEOW
from graphcl.models.base import Embedder
from graphcl.models.meow import MEOW

EMBEDDERS: dict[str, type[Embedder]] = {
    "meow": MEOW,
    "adameow": AdaMEOW,
}
"""What a configuration file may name."""

__all__ = ["EMBEDDERS", "MEOW", "AdaMEOW", "Embedder"]
