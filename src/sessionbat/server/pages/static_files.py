"""/static/…: files that the pages load; public, because the login page needs them."""

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
    """List the one route of all static files."""
    files = _Files(directory=STATIC_FILES)
    path = f"{STATIC}/{{path:path}}"
    return [GuardedRoute(path, files, need=Need.NOTHING, face=Face.MACHINE)]


class _Files(StaticFiles):
    """Static files that browsers revalidate on each request, so that versions never mix."""

    def get_path(self, scope: Scope) -> str:
        """Return the path below the route; ``StaticFiles`` refuses any outside its directory."""
        parts: list[str] = scope["path_params"]["path"].split("/")
        return os.path.normpath(os.path.join(*parts))  # noqa: PTH118

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response
