"""Routes of all pages, a file each; a page's twin ends in ``.json`` and has the same content."""

from __future__ import annotations

from sessionbat.server.access.routes import GuardedRoute
from sessionbat.server.pages import session_page, sessions_page, static_files
from sessionbat.server.store.protocol import Store


def pages(store: Store) -> list[GuardedRoute]:
    """List the routes of the pages, their twins and their static files."""
    return [*sessions_page.routes(store), *session_page.routes(store), *static_files.routes()]
