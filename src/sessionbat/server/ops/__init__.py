"""Operation of the server: log, metrics, retention, and the health check of the store."""
