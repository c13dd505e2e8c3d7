"""Whether this package was first imported when the interpreter was ending already.

Has to be imported before anything that imports ``threading``.
"""

from __future__ import annotations

import sys
from typing import Final


def _inside_exit_handler() -> bool:
    """Whether the code that imports runs inside an ``atexit`` handler.

    The interpreter calls those without anything below them, neither a module nor an import. That
    would also hold in a coroutine of a greenlet; where ``threading`` is loaded, as it is by all
    that have such, there is a better way to ask: see ``_process_end.py``.
    """
    if "threading" in sys.modules:
        return False
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
    code = frame.f_code
    return code.co_name != "<module>" and not code.co_filename.startswith("<frozen ")


INSIDE_EXIT_HANDLER: Final = _inside_exit_handler()
