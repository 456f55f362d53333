"""Which items get scored."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Flat:
    """Every item is scored: exact for the codec, and quick up to some hundred thousand items.

    Examples
    --------
    >>> import nearbit as nb
    >>> nb.Index(8, layout=nb.Flat()).layout
    Flat()
    """

    name: ClassVar[str] = "flat"


LAYOUTS: dict[str, type[Flat]] = {Flat.name: Flat}
