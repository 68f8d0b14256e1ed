"""gRPC's own interoperability cases, with a paglet as the server."""
