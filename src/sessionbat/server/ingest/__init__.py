"""Ingestion: from a request's body to the answer, sent after its events are stored."""
