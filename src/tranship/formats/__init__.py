"""Sans-IO codecs: bytes in, values out, and back. Nothing here opens a file or a socket."""
