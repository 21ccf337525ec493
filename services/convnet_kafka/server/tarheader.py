"""The blocks of a tar archive: a header's fields and checksum, and pax records (POSIX.1-2008 pax, and GNU tar's manual)."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from zlib import adler32

BLOCK = 512
ZERO_BLOCK = bytes(BLOCK)

OLD_FILE = 0
SPARSE = ord("S")
# Where GNU tar says that a sparse file has more headers.
MORE_IN_HEADER = 482
MORE_IN_SPARSE_BLOCK = 504
# What `pax` calls any of the records that make a file sparse.
SPARSE_KEY = "GNU.sparse"

# Types that are not files, by what they are; passed over in silence when that is nothing. All other types are files (POSIX).
NOT_FILES = {
    ord("1"): "a hard link",
    ord("2"): "a symbolic link",
    ord("3"): "a character device",
    ord("4"): "a block device",
    ord("5"): "",
    ord("6"): "a fifo",
    ord("D"): "",  # a directory, and as content its list of names
    ord("K"): "",  # where a link points to
    ord("M"): "the rest of a file that began in another volume",
    ord("N"): "",  # old GNU long names
    ord("V"): "",  # the volume's label
}
# Of these, the types whose size field is true.
WITH_CONTENT = frozenset(b"DKMNV")

# Of a header: name, digits of the size, checksum, type, and the first byte of what ustar puts before the name.
plain_fields = Struct("100s 24x 11s 13x 8s c 188x c").unpack_from

_ADLER_MODULUS = 65521


def is_genuine(block: bytes) -> bool:
    """True when the block's checksum is right, so that it is a header."""
    field = block[148:156]
    if is_sum(block, field):
        return True
    stored = _stored(field)
    if stored < 0:
        return False
    # Old programs took bytes as signed numbers.
    rest = block[:148] + block[156:]
    return stored == 256 + sum(rest) - 256 * sum(byte > 127 for byte in rest)


def is_sum(block: bytes, field: bytes) -> bool:
    """True when this checksum is the sum of the block's bytes, with the checksum itself taken as 8 blanks."""
    # Adler-32's lower half is the sum and 1, modulo 65521 (RFC 1950), in 0.1 us where sum() takes 3. A sum that differs by the modulus
    # passes; that only weakens a checksum that was never strong.
    return adler32(block) & 0xFFFF == _adler(field)


# A few hundred different ones stand in an archive's headers.
@lru_cache(maxsize=4096)
def _adler(field: bytes) -> int:
    """The lower half of Adler-32 of a block with this checksum, if it is right; negative when it is no number."""
    stored = _stored(field)
    return (stored + sum(field) - 255) % _ADLER_MODULUS if stored >= 0 else -1


def _stored(field: bytes) -> int:
    try:
        return int(field[:6], 8)
    except ValueError:
        return number(field)


def fields(block: bytes) -> tuple[int, bytes, int]:
    """Type, name and size of a member; the size is -1 when it is not a number."""
    try:
        size = int(block[124:135], 8)
    except ValueError:
        size = number(block[124:136])
    stop = block.find(0, 0, 100)
    name = block[: stop if stop >= 0 else 100]
    # GNU's own headers keep times here.
    if block[345] and block.startswith(b"ustar\0", 257):
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    return block[156], name, size


def number(field: bytes) -> int:
    """A number of a header: octal digits, blank for 0, or base-256 (GNU, star) when the first bit is set; -1 for anything else."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip(b" ")
    if digits.strip(b"01234567"):
        return -1
    return int(digits, 8) if digits else 0


def pax(content: bytes) -> dict[str, bytes]:
    """The records that matter here: `path`, `size`, and whether the file is sparse.

    Raises:
        ValueError: not pax records; says what is wrong.
    """
    found: dict[str, bytes] = {}
    at = 0
    while at < len(content) and content[at]:
        blank = content.find(b" ", at, at + 20)
        digits = content[at:blank] if blank > at else b""
        if not digits.isdigit():
            raise ValueError("a pax record does not begin with its length")
        stop = at + int(digits)
        key, equals, value = content[blank + 1 : stop - 1].partition(b"=")
        if stop <= blank or not equals or content[stop - 1 : stop] != b"\n":
            raise ValueError("a pax record is shorter or longer than it says")
        if key in {b"path", b"size"}:
            found[key.decode()] = value
        elif key.startswith(b"GNU.sparse."):
            found[SPARSE_KEY] = value
        at = stop
    return found
