"""What keeps a server well: its log, its metrics, retention, the watch over its store."""
