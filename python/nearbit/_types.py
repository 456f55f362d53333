"""Types of arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, TypeAlias, Union

from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from nearbit._core import Filter

Rows: TypeAlias = ArrayLike
Codes: TypeAlias = ArrayLike
Ids: TypeAlias = ArrayLike
Radius: TypeAlias = ArrayLike
Progress: TypeAlias = Callable[[int, int], object]
Allowed: TypeAlias = ArrayLike | AbstractSet[int]
FilterLike: TypeAlias = Union[Allowed, "Filter", Sequence[Union[Allowed, "Filter", None]]]
