"""One module for each gRPC service of the daemon. A service is made of what it needs, and lists its routes."""
