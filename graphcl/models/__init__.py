"""Models that learn one vector per node without labels, by name."""

from graphcl.models.adameow import AdaMEOW
from graphcl.models.base import Embedder
from graphcl.models.dgi import DGI
from graphcl.models.grace import GRACE
from graphcl.models.heco import HeCo
from graphcl.models.meow import MEOW

EMBEDDERS: dict[str, type[Embedder]] = {
    "meow": MEOW,
    "adameow": AdaMEOW,
    "heco": HeCo,
    "grace": GRACE,
    "dgi": DGI,
}
"""What a configuration file may name."""

__all__ = ["DGI", "EMBEDDERS", "GRACE", "MEOW", "AdaMEOW", "Embedder", "HeCo"]
