"""HTTP, whatever the route: parameters, refusals, limits of connections, OpenAPI."""
