"""Where events are kept: the protocol of a store, and what every store shares."""
