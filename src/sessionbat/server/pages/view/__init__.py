"""View models of the pages, made from stored records: pure functions, no HTML and no I/O."""
