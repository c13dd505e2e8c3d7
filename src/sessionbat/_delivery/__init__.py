"""How an event leaves the process: queue, worker, sender. Only ``transports`` calls in here."""
