"""Which contents may be shown, and to whom, as of a cut."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    tags, brand_safety: no content with one of these tags, or of one of these brand-safety classes, is shown.
    """

    blocklist: DataFrame | None = None
    tags: Sequence[str] = ()
    brand_safety: Sequence[str] = ()

    def of(self, platform: str) -> "Blocks":
        """Return those of one platform, of the blocklist of several."""
        if self.blocklist is None:
            return self
        return replace(self, blocklist=self.blocklist.where(F.col("platform") == platform))


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


def unavailable(contents: DataFrame, cut: datetime) -> DataFrame:
    """Return the contents that were not published before `cut` or had expired: content_id."""
    unpublished = F.coalesce(F.col("published_at") >= F.lit(cut), F.lit(False))
    expired = F.coalesce(F.col("available_until") <= F.lit(cut), F.lit(False))
    return newest_versions(contents, "content_id", cut).where(unpublished | expired).select("content_id")


def withheld(interactions: DataFrame, contents: DataFrame, cut: datetime, blocks: Blocks) -> DataFrame:
    """Return the contents that nobody may be shown: those that are `unavailable` or blocked.

    Args:
        interactions, contents: rows of silver of one platform.
        cut: what happened at this time or later is unknown; UTC.
        blocks: of the platform.

    Returns:
        content_id, each once.
    """
    unsafe = F.coalesce(F.arrays_overlap("tags", F.lit(list(blocks.tags)).cast("array<string>")), F.lit(False))
    unsafe |= F.coalesce(F.col("brand_safety").isin(list(blocks.brand_safety)), F.lit(False))
    gone = newest_versions(contents, "content_id", cut).where(unsafe).select("content_id")
    gone = gone.union(unavailable(contents, cut))
    if blocks.blocklist is not None:
        by_id = _in_force(blocks.blocklist, cut).where(F.col("content_id").isNotNull()).select("content_id")
        creators = blocked_creators(blocks.blocklist, cut)
        of_creators = creators_of(contents, interactions, cut).join(creators, "creator_id", how="left_semi")
        gone = gone.union(by_id).union(of_creators.select("content_id"))
    return gone.distinct()


def creators_of(contents: DataFrame, interactions: DataFrame, cut: datetime) -> DataFrame:
    """Return whose each content is: content_id, creator_id; nothing of contents whose creator is unknown.

    That is as the content's newest version says, or where that names nobody the newest interaction with it that does.

    Args:
        contents, interactions: rows of silver of one platform.
        cut: what happened at this time or later is unknown; UTC.
    """
    is_told = F.col("content_id").isNotNull() & F.col("creator_id").isNotNull()
    past = interactions.where((F.col("event_time") < F.lit(cut)) & is_told).groupBy("content_id")
    by_events = past.agg(F.max_by("creator_id", F.struct("event_time", "creator_id")).alias("told"))
    by_contents = newest_versions(contents, "content_id", cut).select("content_id", "creator_id")
    both = by_contents.join(by_events, "content_id", how="full")
    whose = both.select("content_id", F.coalesce("creator_id", "told").alias("creator_id"))
    return whose.where(F.col("creator_id").isNotNull())


def how_many_shown(interactions: DataFrame, contents: DataFrame, cut: datetime, blocks: Blocks) -> DataFrame:
    """Count the contents that may be shown to somebody: told of before `cut`, or met by somebody, and available.

    Returns:
        available: one row.
    """
    past = interactions.where((F.col("event_time") < F.lit(cut)) & F.col("content_id").isNotNull())
    told = contents.where(F.col("valid_from") < F.lit(cut)).select("content_id")
    gone = withheld(interactions, contents, cut, blocks)
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
    made = creators_of(contents, interactions, cut)
    pairs = past.select("user_id", "content_id").union(made.select(F.col("creator_id").alias("user_id"), "content_id"))
    return pairs.groupBy("user_id").agg(F.collect_set("content_id").alias("seen"))
