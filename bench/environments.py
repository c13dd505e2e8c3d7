"""A virtual environment for each peer, made once and kept: peers are nobody's dependencies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.field import Contestant

DEFAULT_DIRECTORY = Path.home() / ".cache" / "sessionbat-bench"


class InstallationError(RuntimeError):
    """A peer could not be installed."""


def interpreter_for(contestant: Contestant, directory: Path) -> Path:
    """Get the Python that runs a contestant; installs a peer the first time it is asked for."""
    if not contestant.is_peer:
        return Path(sys.executable)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    home = directory.resolve() / f"{contestant.module}-{version}"
    python = home / "bin" / "python"
    installed = home / "installed.txt"
    wanted = "\n".join(contestant.requirements)
    if installed.exists() and installed.read_text() == wanted:
        return python
    _run(sys.executable, "-m", "venv", "--clear", str(home))
    pip = (str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    _run(*pip, *contestant.requirements)
    installed.write_text(wanted)
    return python


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip()[-2000:]
        raise InstallationError(
            f"{' '.join(command)} failed: {last}\n"
            "Peers come from the package index that pip is set up for; --without-peers needs none."
        )
