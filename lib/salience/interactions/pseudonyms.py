"""Pseudonyms: HMAC-SHA-256 (RFC 2104) of raw ids under one secret key a platform, by Spark's own functions.

The key enters a plan only as the content of a one-row frame, which no plan, log or event log prints.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from salience.errors import SettingsError

KEY_VARIABLE = "SALIENCE_PSEUDONYM_KEY_"
MINIMUM_KEY_LENGTH = 16
_BLOCK = 64
_INNER, _OUTER = "__inner_pad", "__outer_pad"
_DEMO_KEY = "salience demo key: for trying things out, never for people's data"


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


def find_key(platform: str, env: str, variables: Mapping[str, str]) -> PseudonymKey:
    """Return the platform's key from SALIENCE_PSEUDONYM_KEY_<PLATFORM>; locally, the demo key where it is not set.

    Raises:
        SettingsError: the variable is missing on a cluster, or the key is too short or too well known to protect
            anybody.
    """
    variable = KEY_VARIABLE + platform.upper()
    text = variables.get(variable)
    if text is None and env == "local":
        return PseudonymKey(platform, _DEMO_KEY.encode(), is_demo=True)
    if text is None:
        raise SettingsError(f"{variable} is not set: set it to the platform's secret key (keep it for good)")
    if text == _DEMO_KEY and env != "local":
        raise SettingsError(f"{variable} holds the demo key, which everyone knows: set it to a secret key")
    if len(text) < MINIMUM_KEY_LENGTH:
        raise SettingsError(f"{variable} is shorter than {MINIMUM_KEY_LENGTH} characters: use a longer random key")
    return PseudonymKey(platform, text.encode(), is_demo=text == _DEMO_KEY)


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
    inner = F.unhex(F.sha2(F.concat(F.col(_INNER), F.encode(message, "UTF-8")), 256))
    return F.sha2(F.concat(F.col(_OUTER), inner), 256)
