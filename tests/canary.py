"""Searches whatever a run left for what must not be there: raw ids, people's words, keys, in every usual coding."""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_BLOCK = 64
_HASHES = re.compile(rb"[0-9a-f]{64}", re.IGNORECASE)


@dataclass(frozen=True)
class Canary:
    """What is searched for."""

    codings: Mapping[str, bytes]
    """What it is -> bytes that give it away, in whatever case."""
    hashes: frozenset[bytes]
    """Bare SHA-256 of raw ids, hex in lower case: whoever guesses an id can compute it."""

    def found_in(self, content: bytes) -> set[str]:
        """Return what the content holds."""
        lower = content.lower()
        found = {
            what for what, code in self.codings.items() if code in (lower if what.endswith(" in hex") else content)
        }
        hashed = any(match.lower() in self.hashes for match in _HASHES.findall(content))
        return found | ({"bare hash of a raw id"} if hashed else set())

    def found_below(self, *folders: Path, but: Iterable[Path] = ()) -> dict[str, set[str]]:
        """Return path -> what its name or its content holds, of all files below the folders but some.

        Files of Parquet are searched as bytes and by value, those that zstd compressed as what they stand for.
        """
        left_out = set(but)
        files = (file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file())
        told = {}
        for file in files:
            if file not in left_out:
                what = self.found_in(str(file).encode()).union(*(self.found_in(part) for part in _contents(file)))
                if what:
                    told[str(file)] = what
        return told


def canary(words: Mapping[str, str], keys: Mapping[str, bytes], raw_ids: Iterable[str]) -> Canary:
    """Return the search for words (what they are -> the word), keys (whose -> the key) and bare hashes of raw ids."""
    secrets = {what: word.encode() for what, word in words.items()}
    for whose, key in keys.items():
        # The pads' tails are those of every key.
        pads = {"inner": bytes(b ^ 0x36 for b in key[:_BLOCK]), "outer": bytes(b ^ 0x5C for b in key[:_BLOCK])}
        secrets |= {f"key of {whose}": key, **{f"{name} pad of {whose}": pad for name, pad in pads.items()}}
    codings = {f"{what}{how}": code for what, secret in secrets.items() for how, code in _codings(secret)}
    return Canary(codings, frozenset(sha256(raw_id.encode()).hexdigest().encode() for raw_id in raw_ids))


def _codings(secret: bytes) -> Iterator[tuple[str, bytes]]:
    yield "", secret
    yield " in hex", secret.hex().encode()
    yield " in spaced hex", secret.hex(" ").upper().encode()
    yield " in UTF-16", b"".join(bytes((byte, 0)) for byte in secret)
    for signed in (True, False):
        numbers = [str(byte - 256 if signed and byte > 127 else byte) for byte in secret]
        for comma in (",", ", "):
            yield f" as {'signed' if signed else 'unsigned'} numbers{comma}", comma.join(numbers).encode()
    for shift in range(3):
        # By the bytes ahead of it; the characters at both ends depend on its neighbours.
        coded = base64.b64encode(b"\0" * shift + secret)
        yield f" in base64 after {shift}", coded[(0, 2, 3)[shift] : (len(secret) + shift) // 3 * 4]


def _contents(file: Path) -> Iterator[bytes]:
    content = file.read_bytes()
    yield content
    if content.startswith(b"\x28\xb5\x2f\xfd"):
        yield pa.CompressedInputStream(pa.BufferReader(content), "zstd").read()
    if content.startswith(b"PAR1") and content.endswith(b"PAR1"):
        for column in pq.ParquetFile(file).read().columns:
            yield b"\n".join(_texts(column.to_pylist()))


def _texts(value: Any) -> Iterator[bytes]:
    """Yield every text and every bytes in a value."""
    if isinstance(value, str | bytes | bytearray):
        yield value.encode() if isinstance(value, str) else bytes(value)
    elif isinstance(value, Mapping):
        yield from _texts([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
