"""The nouns of container images: values only, no I/O, no clock, no environment."""
