"""The commands: arguments in, an exit code out. What a command runs is imported when it runs.

Exit codes: 0 all done; 1 something is missing, and said; 2 cannot work as asked; 130 Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from sessionbat._version import __version__
from sessionbat.cli.deleting import delete, retention
from sessionbat.cli.exporting import export
from sessionbat.cli.importing import import_
from sessionbat.cli.keys import keys
from sessionbat.cli.operations import backup, rebuild, restore
from sessionbat.cli.serving import demo, serve
from sessionbat.cli.spool import spool
from sessionbat.cli.store import store
from sessionbat.errors import SessionBatError

_SERVER_PACKAGES = frozenset({"starlette", "uvicorn", "httptools", "jinja2", "zstandard"})
_INTERRUPTED = 130


def run(arguments: Sequence[str]) -> int:
    """Run a command; print an error as one line on standard error.

    Args:
        arguments: The words after the program's name.

    Returns:
        The exit code.
    """
    try:
        code = sessionbat.main(list(arguments), prog_name="sessionbat", standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except SessionBatError as exc:
        return _fail(str(exc))
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in _SERVER_PACKAGES:
            raise
        return _fail(f'this needs {exc.name}: pip install "sessionbat[server]" [no-server]')
    return code if isinstance(code, int) else 0


def _fail(message: str) -> int:
    click.echo(f"sessionbat: {message}", err=True)
    return 2


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sessionbat", message="%(prog)s %(version)s")
def sessionbat() -> None:
    """Record AI sessions, and show them on a page.

    Start with `sessionbat demo`; run a server of your own with `sessionbat serve`.
    """


for _command in (serve, demo, keys, spool, import_, export):
    sessionbat.add_command(_command)
for _command in (backup, restore, delete, retention, rebuild, store):
    sessionbat.add_command(_command)
