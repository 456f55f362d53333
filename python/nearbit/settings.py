"""Settings of the process."""

from typing import TypedDict

from nearbit import _core


class SimdInfo(TypedDict):
    """What ``simd_info`` returns."""

    isa: str
    available: list[str]
    threads: int


def simd_info() -> SimdInfo:
    """Which kernels are in use: the first thing to tell in a report.

    Returns
    -------
    dict
        ``isa`` is the instruction set in use, ``available`` those that this build has and this
        processor runs, ``threads`` how many threads a call uses that doesn't say. The environment
        variable ``NEARBIT_ISA`` forces one of the available; another name fails at import.

    Examples
    --------
    >>> import nearbit as nb
    >>> nb.simd_info()["isa"] in nb.simd_info()["available"]
    True
    """
    return _core.simd_info()


def set_threads(n: int | None) -> None:
    """Set how many threads a call uses that doesn't say.

    Parameters
    ----------
    n : int, 1 to 1024, or None
        None: as many as this process may use processors, the default at start. Answers don't depend
        on it.

    Raises
    ------
    TypeError, ValueError
        ``n`` is no integer, or out of range.

    Examples
    --------
    >>> import nearbit as nb
    >>> nb.set_threads(1)
    >>> nb.simd_info()["threads"]
    1
    >>> nb.set_threads(None)
    """
    _core.set_threads(n)
