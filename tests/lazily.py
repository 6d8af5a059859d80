"""The suite with lazy imports, where Python has them (3.15): `LBHOOK_TESTS_LAZY=1 pytest`.

But for pytest and hypothesis, which do not work with them: pytest 9.2 has a hook of its own for
imports, and hypothesis looks at the names that a module has.
"""

import os
import sys
from collections.abc import Sequence

_EAGER = ("_pytest", "pytest", "pluggy", "xdist", "execnet", "hypothesis")
# What goes before `-m lbhook`, for a program of its own.
WORDS: Sequence[str] = ()


def _is_lazy(importer: str | None, imported: str, names: Sequence[str] | None) -> bool:
    return (importer or "").partition(".")[0] not in _EAGER


if os.environ.get("LBHOOK_TESTS_LAZY"):
    WORDS = ("-X", "lazy_imports=all")
    sys.set_lazy_imports_filter(_is_lazy)  # type: ignore[attr-defined]  # 3.15
    sys.set_lazy_imports("all")  # type: ignore[attr-defined]  # 3.15
