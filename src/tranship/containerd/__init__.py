"""Whoever speaks containerd's language: messages both ways, status and errors, streams, and the channel to a containerd.

    status       errors as gRPC status, and back
    methods      the services and their methods, declared once for client and server
    values       times, platforms, descriptors
    records      blobs, ingests, images, leases, namespaces of a store
    codec        Any values and their type URLs; what travels on streams
    progress     events, in containerd's words
    wire         the ends of a transfer, as plain values
    ends         … and as messages
    credentials  the auth stream's question and answer
    channel      a connection to a containerd

protobuf and grpcio are imported by the modules that need them, not here: they are in the `daemon` extra.
"""
