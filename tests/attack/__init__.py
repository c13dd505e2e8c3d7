"""Somebody with a legal key of one app at work against the users of another."""
