"""Estimates the cost of model calls for which the app gave none."""
