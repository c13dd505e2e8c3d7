"""The ``sessionbat`` command, also as ``python -m sessionbat``.

The command line needs packages that the SDK does without; where they are missing, one line says
what to install.
"""

from __future__ import annotations

import sys

_CLI_PACKAGES = frozenset({"click", "rich"})


def main() -> int:
    """Run the command line with the arguments of this process; give the exit code."""
    try:
        from sessionbat.cli import run
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in _CLI_PACKAGES:
            raise
        print(
            f"sessionbat: the command line needs {exc.name}:"
            ' pip install "sessionbat[server]" [no-cli]',
            file=sys.stderr,
        )
        return 2
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
