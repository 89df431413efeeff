"""containerd's messages: its published .proto files, and the modules that `make proto` writes from them.

The folders follow containerd's `api` folder; google/rpc and grpc/health hold the two messages that it borrows. Imported by
`tranship.containerd` and `tranship.daemon` alone, and only when they are needed: this is what needs protobuf.
"""
