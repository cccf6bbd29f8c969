"""Pseudonyms: HMAC-SHA-256 (RFC 2104) of raw ids under one secret key a platform, by Spark's own functions.

The key enters a plan only as the content of a one-row frame, which no plan, log or event log prints.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

_BLOCK = 64
_INNER, _OUTER = "__inner_pad", "__outer_pad"


@dataclass(frozen=True)
class PseudonymKey:
    """A platform's secret. Its text form shows the id only."""

    platform: str
    secret: bytes
    is_demo: bool = False
    """Whether it is the key that everyone knows."""

    def __repr__(self) -> str:
        return f"PseudonymKey({self.platform}, {self.key_id})"

    @property
    def key_id(self) -> str:
        """First 16 hex digits of a hash of the key: tells keys apart and reveals none."""
        return hashlib.sha256(b"key id of " + self.secret).hexdigest()[:16]


def with_pseudonyms(
    spark: SparkSession, frame: DataFrame, key: PseudonymKey, ids: Mapping[str, str], keep: bool = False
) -> DataFrame:
    """Return the frame with each raw id column replaced by its pseudonym.

    Args:
        spark: the session.
        frame: rows of one platform.
        key: that platform's key.
        ids: raw column -> name of the pseudonym's column; a null id stays null.
        keep: whether the raw columns stay beside them.
    """
    pads = F.broadcast(spark.createDataFrame([_pads(key.secret)], f"{_INNER} binary, {_OUTER} binary"))
    hashed = {name: _hmac(F.col(raw)).alias(name) for raw, name in ids.items()}
    kept = [F.col(name) for name in frame.columns if (keep or name not in ids) and name not in hashed]
    return frame.crossJoin(pads).select(*kept, *hashed.values())


def _pads(secret: bytes) -> tuple[bytearray, bytearray]:
    block = (hashlib.sha256(secret).digest() if len(secret) > _BLOCK else secret).ljust(_BLOCK, b"\0")
    return bytearray(b ^ 0x36 for b in block), bytearray(b ^ 0x5C for b in block)


def _hmac(message: Column) -> Column:
    inner = F.unhex(F.sha2(F.concat(F.col(_INNER), message.cast("string").cast("binary")), 256))
    return F.sha2(F.concat(F.col(_OUTER), inner), 256)
