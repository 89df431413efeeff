"""Tar, the container of image archives: a reader that trusts nothing, and a writer that knows every offset in advance.

Nothing here opens a file, and no name from an archive ever becomes a path: a name is a key in a table.

    index = read_index(lambda offset, size: os.pread(fd, size, offset), file_size)      # a file: headers only, no data

    stream = TarStream(reader)                                                          # a pipe
    for member in stream:
        pump(stream, sink.write)              # the member's data; what is left unread is passed over

    plan = arrange([Entry("oci-layout", 30), Entry("blobs/sha256/…", 5_000_000), …])    # before a byte is written
    for member in plan.members:
        pwrite(fd, member.header, member.header_offset)      # then the data at member.data_offset; padding is zeros
    pwrite(fd, TRAILER, plan.trailer_offset)

Python's `tarfile` is not used: it needs 15 µs a member where this reader needs 4, copies a pipe at a tenth of its rate,
and the versions in use differ in what they do with hostile headers (CVE-2019-20907, CVE-2024-6232, CVE-2025-8194).
"""

from tranship.formats.tar.header import BLOCK, Kind, Member, clean, padding
from tranship.formats.tar.reading import MAX_MEMBERS, ReadAt, TarStream, read_index
from tranship.formats.tar.writing import ALIGNED_FROM, ALIGNMENT, TRAILER, Arrangement, Entry, Placed, arrange

__all__ = [
    "ALIGNED_FROM",
    "ALIGNMENT",
    "BLOCK",
    "MAX_MEMBERS",
    "TRAILER",
    "Arrangement",
    "Entry",
    "Kind",
    "Member",
    "Placed",
    "ReadAt",
    "TarStream",
    "arrange",
    "clean",
    "padding",
    "read_index",
]
