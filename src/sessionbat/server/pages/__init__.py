"""The pages that people look at, each with a twin in JSON."""
