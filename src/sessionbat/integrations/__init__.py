"""Integrations with other libraries, a file each; their common parts are in ``_kit``."""
