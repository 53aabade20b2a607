"""File formats in, interactions out: every reader by the `kind` that YAML calls it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

from recsys.data.interactions import Interactions, Released
from recsys.data.listed import LightgcnText, S3recText
from recsys.data.matrices import Npz, ScipyPickle
from recsys.data.tabular import RecboleAtomic, Table


class Reader(Protocol):
    """A file format."""

    kind: ClassVar[str]

    def read(self, paths: Mapping[str, Path]) -> Interactions | Released:
        """The interactions of {"interactions": path}, or the parts of {"train", "test" and maybe "valid": path}."""
        ...


READERS: Mapping[str, type[Any]] = {
    reader.kind: reader for reader in (Table, RecboleAtomic, LightgcnText, S3recText, Npz, ScipyPickle)
}
"""kind -> reader."""
