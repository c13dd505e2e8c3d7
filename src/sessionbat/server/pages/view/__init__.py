"""From what the store hands back to what a page shows: pure functions, no HTML and no I/O."""
