"""The event store: its protocol, and the parts that are independent of the database."""
