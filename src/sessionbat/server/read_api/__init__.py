"""The read API below /api/v1: what it can be asked, and what it answers."""
