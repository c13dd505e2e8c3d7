"""What is removed from an event before it may leave the process: the client's ``mask=`` option."""
