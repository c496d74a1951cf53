"""What marks a Python function as one that becomes a machine-code function of its own.

A function without the mark that typed code calls is inlined where it is called; `docs/typed.md` has the rules.
"""

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def function(body: F) -> F:
    """Compile this function on its own, once for each combination of argument types; calls to it are calls.

    Every parameter is passed at run time except those annotated `type` or `static`, which specialise the function.
    """
    body.__typed__ = True  # type: ignore[attr-defined]
    return body


class static:
    """Annotation of a parameter whose value is known when the code is compiled."""
