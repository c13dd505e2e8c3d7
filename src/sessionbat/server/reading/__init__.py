"""THE reader of an event: what its payloads say, whichever library wrote them."""
