"""OpenTelemetry's protocol over HTTP: spans and log records, as protobuf or JSON, become parts."""
