"""Whoever speaks containerd's language: messages both ways, status and errors, streams, and the channel to a containerd.

    status       errors as gRPC status, and back
    methods      the services and their methods, declared once for client and server
    values       times, platforms, descriptors
    records      blobs, ingests, images, leases, namespaces of a store
    codec        Any values and their type URLs; what travels on streams
    streams      byte streams over messages, with containerd's windows
    progress     events, in containerd's words
    credentials  the auth stream's question and answer
    wire         the ends of a transfer, as plain values
    ends         … and as messages
    mapping      what they mean: endpoints and a Selection, with containerd's defaults
    expressing   … and how ours can be said
    channel      a connection to a containerd
    outbox       what waits to be sent over it
    leasing      a lease of our own there

    endpoint     Containerd, a running containerd as an end; its two sides are
    source       images and content that are read there,
    destination  … and written
    writing      one blob through Content/Write
    delegating   whole transfers that a containerd does by itself
    job          one of them, with the streams that it needs
    remote       transfers that a daemon does for a Python program: `tranship.connect`

protobuf and grpcio are imported by the modules that need them, not here: they are in the `daemon` extra.
"""
