"""Which contents may be shown, and to whom, as of a cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from salience.profiles.consent import refusing

AHEAD = timedelta(days=1)
"""Lists stand for about so long: what will be blocked meanwhile is not in them."""


@dataclass(frozen=True)
class Blocks:
    """What may not be shown whatever a person likes.

    blocklist: rows of silver.blocklist, where it is used of one platform; None where there are none.
    tags: no content with one of them is shown (brand safety).
    """

    blocklist: DataFrame | None = None
    tags: Sequence[str] = ()

    def of(self, platform: str) -> "Blocks":
        """Return those of one platform, of the blocklist of several."""
        return (
            self if self.blocklist is None else Blocks(self.blocklist.where(F.col("platform") == platform), self.tags)
        )


NOTHING_BLOCKED = Blocks()


def newest_versions(dimension: DataFrame, key: str, cut: datetime) -> DataFrame:
    """Return the rows of a dimension's newest version before `cut`, one for each key.

    Args:
        dimension: rows of silver.contents or silver.users of one platform.
        key: content_id or user_id.
        cut: versions from this time on are not known yet.
    """
    known = dimension.where(F.col("valid_from") < F.lit(cut))
    columns = [F.col(name) for name in dimension.columns if name != key]
    newest = known.groupBy(key).agg(F.max_by(F.struct(*columns), "valid_from").alias("newest"))
    return newest.select(key, "newest.*")


def unavailable(contents: DataFrame, cut: datetime, blocks: Blocks = NOTHING_BLOCKED) -> DataFrame:
    """Return the contents that were not published before `cut`, had expired, or are blocked: content_id, each once."""
    newest = newest_versions(contents, "content_id", cut)
    gone = F.coalesce(F.col("published_at") >= F.lit(cut), F.lit(False))
    gone |= F.coalesce(F.col("available_until") <= F.lit(cut), F.lit(False))
    if blocks.tags:
        gone |= F.coalesce(F.arrays_overlap("tags", F.lit(list(blocks.tags))), F.lit(False))
    found = newest.where(gone).select("content_id")
    if blocks.blocklist is None:
        return found
    blocked = _in_force(blocks.blocklist, cut)
    of_creators = newest.join(blocked_creators(blocks.blocklist, cut), "creator_id", how="left_semi")
    by_id = blocked.where(F.col("content_id").isNotNull()).select("content_id")
    return found.union(of_creators.select("content_id")).union(by_id).distinct()


def how_many_shown(interactions: DataFrame, contents: DataFrame, cut: datetime, blocks: Blocks) -> DataFrame:
    """Count the contents that may be shown to somebody: told of before `cut`, or met by somebody, and available.

    Returns:
        available: one row.
    """
    past = interactions.where((F.col("event_time") < F.lit(cut)) & F.col("content_id").isNotNull())
    told = contents.where(F.col("valid_from") < F.lit(cut)).select("content_id")
    gone = unavailable(contents, cut, blocks)
    shown = past.select("content_id").union(told).distinct().join(gone, "content_id", how="left_anti")
    return shown.agg(F.count("*").alias("available"))


def blocked_creators(blocklist: DataFrame, cut: datetime) -> DataFrame:
    """Return the creators who are blocked at `cut`, or will be within AHEAD: creator_id, each once."""
    blocked = _in_force(blocklist, cut).where(F.col("creator_id").isNotNull())
    return blocked.select("creator_id").distinct()


def _in_force(blocklist: DataFrame, cut: datetime) -> DataFrame:
    """Return content_id and creator_id (one of both) of the blocks that hold, by their newest version before `cut`."""
    known = blocklist.where(F.col("valid_from") < F.lit(cut)).groupBy("content_id", "creator_id")
    newest = known.agg(F.max_by(F.struct("blocked_from", "blocked_to"), "valid_from").alias("newest"))
    has_begun = F.coalesce(F.col("newest.blocked_from") < F.lit(cut + AHEAD), F.lit(True))
    has_ended = F.coalesce(F.col("newest.blocked_to") <= F.lit(cut), F.lit(False))
    return newest.where(has_begun & ~has_ended).select("content_id", "creator_id")


def people(users: DataFrame, interactions: DataFrame, cut: datetime) -> DataFrame:
    """Return everyone to serve: in silver.users, or with an interaction, before `cut`.

    Returns:
        user_id, personalised (false only for people who are `refusing`).
    """
    known = users.where(F.col("valid_from") < F.lit(cut)).select("user_id")
    active = interactions.where(F.col("event_time") < F.lit(cut)).select("user_id")
    refused = refusing(users, cut).select("user_id", F.lit(False).alias("personalised"))
    everyone = known.union(active).distinct().join(refused, "user_id", how="left")
    return everyone.select("user_id", F.coalesce("personalised", F.lit(True)).alias("personalised"))


def not_shown(interactions: DataFrame, contents: DataFrame, cut: datetime) -> DataFrame:
    """List what each person may not be shown: what they ever had to do with, impressions included, and their own.

    Args:
        interactions, contents: rows of silver of one platform; a creator's id is that of the person who they are.
        cut: what happened at this time or later is unknown; UTC.

    Returns:
        user_id, seen: array of content_id, each once, in no order.
    """
    past = interactions.where((F.col("event_time") < F.lit(cut)) & F.col("content_id").isNotNull())
    made = newest_versions(contents, "content_id", cut).where(F.col("creator_id").isNotNull())
    pairs = past.select("user_id", "content_id").union(made.select(F.col("creator_id").alias("user_id"), "content_id"))
    return pairs.groupBy("user_id").agg(F.collect_set("content_id").alias("seen"))
