"""HTTP parts shared by all routes: parameters, refusals, connection limits, OpenAPI."""
