"""The SDKs that are compared, one file each: `start(address, unbounded=...)` makes a recorder.

A recorder has `record(call)` and `flush()`, which returns once everything has been delivered. A
module here imports what it measures at its top and nothing else: its import is measured too.
"""
