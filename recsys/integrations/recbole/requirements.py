"""Whether there is a RecBole that the bridge works with."""

import importlib.util
from importlib.metadata import PackageNotFoundError, version

from graphcl.errors import InputError

SUPPORTED = (1, 2)
"""RecBole's major and minor version."""


class RecBoleError(InputError):
    """RecBole is missing, or of a version that this bridge does not know."""


def require() -> None:
    """Raise `RecBoleError` unless a RecBole is installed that the bridge works with."""
    found = installed("recbole")
    if not found:
        raise RecBoleError("RecBole is not installed; pip install 'graphcl-recsys[recbole]' brings it")
    if found[:2] != SUPPORTED:
        raise RecBoleError(
            f"RecBole {version('recbole')} is installed, the bridge works with 1.2.0 and 1.2.1; "
            f"pip install 'recbole>=1.2.0,<1.3'"
        )
    if installed("pandas") >= (3,):
        raise RecBoleError(
            f"pandas {version('pandas')} is installed, under which RecBole leaves missing values in its data without "
            f"a word; pip install 'pandas<3'"
        )
    if importlib.util.find_spec("distutils") is None:
        raise RecBoleError(
            "thop, by which RecBole counts operations, imports distutils, which Python 3.12 dropped and setuptools "
            "brings back; pip install setuptools"
        )


def installed(package: str) -> tuple[int, ...]:
    """The numbers of a package's version, none if it is not installed."""
    try:
        return tuple(int(part) for part in version(package).split(".")[:3] if part.isdecimal())
    except PackageNotFoundError:
        return ()
