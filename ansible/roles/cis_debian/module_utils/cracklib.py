"""A dictionary for cracklib, packed here: without any, libpwquality refuses every password, good ones included.

cracklib's three files: words in blocks of 16 (each word but the first says how many letters it shares with the one before
it), the place of each block, and the last word for each first byte. Numbers are 32 bits wide, in the byte order of the
machine; both architectures that the factory builds for have the same.
"""

from __future__ import absolute_import, division, print_function

__metaclass__ = type

import os
import struct

MAGIC, BLOCK = 0x70775631, 16


def pack(words):
    """The bytes of .pwd, .pwi and .hwm for a list of words."""
    words = sorted(set(word.strip().lower().encode("ascii") for word in words if word.strip()))
    data, index, marks = b"", b"", [0] * 256
    for number, word in enumerate(words):
        marks[word[0]] = number
        if number % BLOCK == 0:
            index += struct.pack("<I", len(data))
            data += word + b"\0"
        else:
            same = len(os.path.commonprefix([words[number - 1], word]))
            data += struct.pack("B", same) + word[same:] + b"\0"
    for byte in range(1, 256):
        marks[byte] = marks[byte] or marks[byte - 1]
    header = struct.pack("<IIHH", MAGIC, len(words), BLOCK, 0)
    return data, header + index, struct.pack("<256I", *marks)


class Dictionary:
    """There is a dictionary; a larger one, of a package, is left alone."""

    def __init__(self, path, words):
        self.path, self.words = path, words.split()

    def off(self):
        return [] if os.path.exists(self.path + ".pwd") else ["%s.pwd does not exist" % self.path]

    def fix(self):
        os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
        for suffix, data in zip((".pwd", ".pwi", ".hwm"), pack(self.words)):
            with open(self.path + suffix, "wb") as f:
                f.write(data)
            os.chmod(self.path + suffix, 0o644)
