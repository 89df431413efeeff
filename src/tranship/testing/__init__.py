"""Helpers for testing whatever moves container images, shipped so that others can test theirs with them.

registry      an OCI registry in this process: strict, and able to fail and lie on demand
proxy         a TCP proxy that cuts, delays and counts
conformance   what every endpoint must do, as checks
store_suite   what every store must do, likewise
memory        an endpoint that is a dictionary
graphs        random image graphs
"""
