"""Helpers for testing whatever moves container images: an in-process registry, and a TCP proxy that breaks connections."""
