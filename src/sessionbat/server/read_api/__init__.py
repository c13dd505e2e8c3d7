"""The read API below /api/v1: its parameters and its answers."""
