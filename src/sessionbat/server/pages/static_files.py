"""/static/…: what the pages load; open to all, as the login needs it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from sessionbat.server.access.routes import Face, GuardedRoute, Need
from sessionbat.server.web.addresses import STATIC

STATIC_FILES: Final = Path(__file__).parent / "static"


def routes() -> list[GuardedRoute]:
    """Give the one route of all files."""
    files = _Files(directory=STATIC_FILES)
    path = f"{STATIC}/{{path:path}}"
    return [GuardedRoute(path, files, need=Need.NOTHING, face=Face.MACHINE)]


class _Files(StaticFiles):
    """Static files that browsers ask about each time: versions must not mix."""

    def get_path(self, scope: Scope) -> str:
        """Take the path below the route; ``StaticFiles`` looks up nothing outside its directory."""
        parts: list[str] = scope["path_params"]["path"].split("/")
        return os.path.normpath(os.path.join(*parts))  # noqa: PTH118

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response
