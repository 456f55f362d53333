"""Whole numbers as arguments, and values as errors show them."""

import operator


def shown(value: object) -> str:
    """A value and its type, as errors show them."""
    return f"{value!r} ({type(value).__name__})"


def whole(value: object, name: str, least: int, most: int) -> int:
    """An integer from least to most."""
    wanted = f"{name}: expected an integer from {least} to {most}, got {shown(value)}"
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(wanted) from None
    if isinstance(value, bool):
        raise TypeError(wanted)
    if not least <= number <= most:
        raise ValueError(wanted)
    return number
