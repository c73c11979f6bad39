"""The error for wrong input, whose text says what is wrong and what is allowed, and the checks of any verb's input."""

import math
import reprlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class InputError(ValueError):
    """Wrong input from a user; shown as one line, never as a traceback."""


def check_number(value: Any, name: str, low: float, high: float = math.inf, whole: bool = False) -> float:
    """A number from `low` to `high`; `InputError` for anything else."""
    allowed = f"{name} must be {'a whole number' if whole else 'a number'} from {low}"
    allowed += f" to {high}" if high < math.inf else ""

    def is_valid(number: Tensor) -> bool:
        return number.ndim == 0 and low <= number.item() <= high and not (whole and number.item() % 1)

    return check_numbers(value, allowed, is_valid, torch.float64).item()


def check_numbers(
    values: Any, allowed: str, is_valid: Callable[[Tensor], bool | Tensor], dtype: torch.dtype = torch.float32
) -> Tensor:
    """A number, or rows of them, as a tensor; `InputError` if one is not finite, or they are not valid."""
    try:
        tensor = torch.as_tensor(values, dtype=dtype)
        if tensor.isfinite().all() and is_valid(tensor):
            return tensor
    except (TypeError, ValueError, RuntimeError, OverflowError):  # not numbers, or rows of different lengths
        pass
    raise InputError(f"{allowed}, not {abbreviated(values)}")


def check_list(values: T | Iterable[T], kind: type[T], allowed: str) -> list[T]:
    """One value or more of a type as a list; `InputError` if one is of another type."""
    is_one = isinstance(values, (str, bytes)) or not isinstance(values, Iterable)
    listed: list[Any] = [values] if is_one else list(values)  # type: ignore[arg-type]
    for value in listed:
        if not isinstance(value, kind):
            raise InputError(f"{allowed}, not {abbreviated(value)}")
    return listed


def check_captions(captions: str | Iterable[str]) -> list[str]:
    """One caption or more as a list; `InputError` if one is not text."""
    return check_list(captions, str, "a caption must be text")


def abbreviated(value: object) -> str:
    """A value in a few words, on one line."""
    return " ".join(reprlib.repr(value).split())
