"""How well a content suits a person by the recommender's factors, as of the latest snapshot before the exposure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from salience.models.store import LoadedModel

INTEREST, MISSING = "interest", "interest_missing"
_OF_CONTENT, _OF_PERSON = "content_factors", "user_factors"


@dataclass(frozen=True)
class Interest:
    """Factors as of several times: one row a person, or content, with a map from the time to its factors.

    A snapshot knows what happened before its time, so it may be used from that instant on.
    """

    times: Mapping[str, Sequence[datetime]]
    """By platform."""
    people: DataFrame
    contents: DataFrame

    def of_contents(self, rows: DataFrame) -> DataFrame:
        """Add the factors of each row's content at its event_time; rows and factors meet by platform and content."""
        joined = rows.join(self.contents, ["platform", "content_id"], how="left")
        return joined.withColumn(_OF_CONTENT, self._latest(_OF_CONTENT))

    def of_people(self, rows: DataFrame) -> DataFrame:
        """Replace the contents' factors by `interest`, their product with the person's, and whether that is missing.

        Where one of the two has no factors interest is 0 and interest_missing 1.
        """
        joined = rows.join(self.people, ["platform", "user_id"], how="left")
        product = F.zip_with(self._latest(_OF_PERSON), _OF_CONTENT, lambda u, v: u.cast("double") * v.cast("double"))
        both = joined.withColumn(INTEREST, F.aggregate(product, F.lit(0.0), lambda total, x: total + x))
        is_missing = F.col(INTEREST).isNull()
        return both.withColumns({INTEREST: F.coalesce(INTEREST, F.lit(0.0)), MISSING: is_missing.cast("double")}).drop(
            _OF_PERSON, _OF_CONTENT
        )

    def _latest(self, factors: str) -> Column:
        """Return the newest factors whose time is not after the row's."""
        found: Column = F.lit(None)
        for platform, times in self.times.items():
            for time in sorted(times):
                is_past = (F.col("platform") == platform) & (F.lit(time) <= F.col("event_time"))
                found = F.when(is_past, F.lit(time)).otherwise(found)
        return F.try_element_at(factors, found.cast("timestamp"))


def interest(models: Iterable[tuple[str, LoadedModel]]) -> Interest | None:
    """Return the interest by saved models of ALS.

    Args:
        models: by platform; their manifests tell the `cut`, before which they know everything, and their frames are
            user_factors(user_id, features) and item_factors(content_id, features), array<float>.

    Returns:
        None where there is no model.
    """
    snapshots = {(platform, datetime.fromisoformat(of.manifest["cut"])): of.frames for platform, of in models}
    if not snapshots:
        return None
    times: dict[str, list[datetime]] = {}
    for platform, time in snapshots:
        times.setdefault(platform, []).append(time)

    def side(frame: str, key: str, name: str) -> DataFrame:
        each = (
            of[frame].select(
                F.lit(platform).alias("platform"), key, F.struct(F.lit(time).cast("timestamp"), "features").alias("at")
            )
            for (platform, time), of in snapshots.items()
        )
        whole = reduce(DataFrame.unionByName, each)
        return whole.groupBy("platform", key).agg(F.map_from_entries(F.collect_list("at")).alias(name))

    return Interest(times, side("user_factors", "user_id", _OF_PERSON), side("item_factors", "content_id", _OF_CONTENT))


def without_interest(rows: DataFrame) -> DataFrame:
    """Return rows of which no interest is known."""
    return rows.withColumns({INTEREST: F.lit(0.0), MISSING: F.lit(1.0)})
