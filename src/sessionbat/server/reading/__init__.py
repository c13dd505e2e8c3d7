"""The one reader of events: extracts the content of payloads, whichever library wrote them."""
