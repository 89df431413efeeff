"""tranship moves container images: any of registry, archive, OCI layout, store, containerd and docker engine to any other."""
