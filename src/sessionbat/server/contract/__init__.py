"""What the server promises over HTTP, as data: parameters, operations, and the document of both.

Ingestion and the read API declare here what they take and answer, and read requests by the same
declarations. Nothing here opens a connection or asks the store.
"""
