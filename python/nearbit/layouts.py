"""Which items get scored."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

from nearbit._numbers import shown, whole


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


@dataclass(frozen=True)
class Graph:
    """Each item is linked to others near it, and a walk along links comes to the nearest.

    Answers are nearly exact: ``ef`` of a search says how far it looks, and ``index.tune`` finds the
    ``ef`` for a recall. Fewer than 2,048 items are all scored. Items may be added, updated and
    removed at any time; ``add`` takes longer than in a flat layout, by a few searches for each row.

    Parameters
    ----------
    degree : int, 4 to 512, default 32
        Most links of an item, 4 bytes each. More help where recall has to be above .99, or where
        the data has many dimensions of its own.
    ef_construction : int, 8 to 65,536, default 128
        How many of the nearest are kept while an item's links are looked for. Where many items come
        at once, each is compared within as many groups as a tenth of it, from 4 to 32. More
        build better links, in more time.
    alpha : float, 1 to 2, default 1.05
        An item is linked to another unless one that it is linked to already is nearer to that by
        this factor: with more, there are more links (Subramanya et al. 2019, DiskANN, algorithm 2).
        Where that leaves few, an item added to a graph is linked to its nearest all the same.
        Of no effect for ip, whose distances are no lengths.

    Raises
    ------
    TypeError, ValueError
        A number of the wrong type or out of range.

    Examples
    --------
    >>> import nearbit as nb
    >>> nb.Index(8, layout=nb.Graph(degree=16)).layout
    Graph(degree=16, ef_construction=128, alpha=1.05)
    """

    degree: int = 32
    ef_construction: int = 128
    alpha: float = 1.05

    name: ClassVar[str] = "graph"

    def __post_init__(self) -> None:
        whole(self.degree, "degree", 4, 512)
        whole(self.ef_construction, "ef_construction", 8, 65_536)
        expected = f"alpha: expected a number from 1 to 2, got {shown(self.alpha)}"
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, Real):
            raise TypeError(expected)
        if not 1 <= self.alpha <= 2:
            raise ValueError(expected)


LAYOUTS: dict[str, type[Flat | Graph]] = {Flat.name: Flat, Graph.name: Graph}
