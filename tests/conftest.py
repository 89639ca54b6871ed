"""What every test has."""

from __future__ import annotations

import ast
import gc
import signal
import sys
import threading
from typing import Any

_parse = ast.parse
_parsing = threading.RLock()


def _parse_undisturbed(*arguments: Any, **options: Any) -> Any:
    """`ast.parse`, during which no garbage is collected.

    CPython before 3.11.8 and 3.12.2 counts the depth of a tree in one place for all threads. A collection
    in the middle runs other Python code (finalizers, Hypothesis's callback) and lets other threads run;
    when any of it parses, too, the first one ends with "AST constructor recursion depth mismatch".
    """
    with _parsing:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            return _parse(*arguments, **options)
        finally:
            if was_enabled:
                gc.enable()


if sys.version_info < (3, 12, 2):
    ast.parse = _parse_undisturbed

# A shell that starts the tests in the background has them ignore Ctrl-C, and so does whatever they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
