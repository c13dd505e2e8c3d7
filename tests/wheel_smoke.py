"""Run by .ci/run against the built wheel in an environment without extras: does it work alone?"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path

import sessionbat
from sessionbat import SessionBat
from sessionbat.transports import MemoryTransport

assert sessionbat.__version__ == version("sessionbat")
assert "site-packages" in sessionbat.__file__, "this must test the wheel, not the source tree"
assert (Path(sessionbat.__file__).parent / "py.typed").exists()
assert (Path(sessionbat.__file__).parent / "server" / "pages" / "templates").is_dir()
assert (Path(sessionbat.__file__).parent / "server" / "pages" / "static").is_dir()
assert len([r for r in requires("sessionbat") or [] if "extra ==" not in r]) == 2

memory = MemoryTransport()
client = SessionBat(app="wheel", transport=memory)
client.session().interaction().llm(model="m", input="hello")
assert memory.events[0]["observation"]["input"] == "hello"

command = Path(sys.executable).parent / "sessionbat"
done = subprocess.run([command, "serve"], capture_output=True, text=True, check=False)
assert done.returncode == 2, done
assert done.stderr.count("\n") == 1 and "sessionbat[server]" in done.stderr, done.stderr
print(f"the wheel of sessionbat {sessionbat.__version__} works alone")
