"""Adapters of other libraries, a file each; what they share is in ``_kit``."""
