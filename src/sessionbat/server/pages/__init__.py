"""The HTML pages, each with a twin in JSON."""
