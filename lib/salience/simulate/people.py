"""People with latent interests, activity, time zones and moves between regions."""

import math

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.simulate.draws import index_below, permuted, pick, zipf_rank
from salience.simulate.world import DAY_MS, TOPIC_EXPONENT, World

REGIONS = {"europe": 0.35, "north_america": 0.3, "east_asia": 0.2, "south_asia": 0.15}
OFFSETS_MIN = {"europe": 60, "north_america": -300, "east_asia": 480, "south_asia": 330}
AGE_BANDS = {"18-24": 0.3, "25-34": 0.3, "35-49": 0.25, "50+": 0.15}
DEVICES = {"phone": 0.75, "tablet": 0.1, "desktop": 0.15}
INTEREST_WEIGHTS = (1.0, 0.8, 0.6)
"""Weight of a person's first, second and third strong topic; all other topics weigh 0."""
INTERESTS_A_PERSON = {"1": 0.35, "2": 0.4, "3": 0.25}

ACTIVITY_SHAPE = 0.75
"""Shape of the Weibull distribution of activity; below 1 a few people make much of the traffic."""
LARGEST_SHARE_SEEN = 1 / 3
"""Nobody is exposed to more than this share of the catalogue."""
LONGEST_REGISTERED_DAYS = 700
JOIN_SHARE, LEAVE_SHARE, MOVE_SHARE, OPT_OUT_SHARE = 0.15, 0.15, 0.05, 0.04
"""Shares of people whose first day comes later, whose last day comes early, who move, who refuse personalisation."""


def people(spark: SparkSession, world: World) -> DataFrame:
    """Return one row per person: user (the index), what the platform knows, and latents.

    `exposures` is how many contents the person is shown; `first_day` and `last_day` count from 0 and bound the
    person's activity; `move_day` is null for those who stay.
    """
    days = world.settings.days
    move_day = 1 + index_below(world.uniform("user/move_day", "user"), max(1, days - 1))
    third = F.when((F.col("interests") >= 3) & F.lit(world.settings.topics > 2), _third_interest(world))
    numbered = spark.range(0, world.settings.users, 1, world.settings.partitions).withColumnRenamed("id", "user")
    # Each step is a column of its own: Spark would otherwise repeat a draw's expression wherever its value is used.
    drawn = numbered.withColumns(_first_draws(world))
    return drawn.withColumn("exposures", exposures_of(world, F.col("last_day") - F.col("first_day") + 1)).select(
        F.lit(world.platform).alias("platform"),
        "user",
        "region",
        F.when(F.col("moves"), next_region(F.col("region"))).alias("region_moved_to"),
        F.when(F.col("moves"), move_day).alias("move_day"),
        pick(world.uniform("user/age_band", "user"), AGE_BANDS).alias("age_band"),
        pick(world.uniform("user/device", "user"), DEVICES).alias("device"),
        _registered_ms(world).alias("registered_ms"),
        (world.uniform("user/opts_out", "user") < OPT_OUT_SHARE).alias("opted_out"),
        "first_day",
        "last_day",
        "exposures",
        "interest_1",
        F.when(F.col("interests") >= 2, F.col("interest_2")).alias("interest_2"),
        third.alias("interest_3"),
        world.normal("user/propensity", "user").alias("propensity"),
        world.normal("user/chronotype", "user").alias("chronotype"),
        world.normal("user/style/0", "user").alias("style_0"),
        world.normal("user/style/1", "user").alias("style_1"),
    )


def _first_draws(world: World) -> dict[str, Column]:
    """Return the draws that others build on: region, active days, and the strong topics' numbers."""
    days, topics = world.settings.days, world.settings.topics
    joins = world.uniform("user/joins", "user") < JOIN_SHARE
    leaves = (world.uniform("user/leaves", "user") < LEAVE_SHARE) & ~joins
    first = zipf_rank(world.uniform("user/interest_1", "user"), topics, TOPIC_EXPONENT)
    return {
        "region": pick(world.uniform("user/region", "user"), REGIONS),
        "moves": (world.uniform("user/moves", "user") < MOVE_SHARE) & F.lit(days > 1),
        "first_day": F.when(joins, index_below(world.uniform("user/first_day", "user"), days)).otherwise(0),
        "last_day": F.when(leaves, index_below(world.uniform("user/last_day", "user"), days)).otherwise(days - 1),
        "interests": pick(world.uniform("user/interests", "user"), INTERESTS_A_PERSON).cast("int"),
        "interest_1": first,
        "interest_2": F.pmod(
            first + 1 + index_below(world.uniform("user/interest_2", "user"), topics - 1), F.lit(topics)
        ),
    }


def _third_interest(world: World) -> Column:
    """Return a topic's number that is neither the first nor the second strong topic."""
    low, high = F.least("interest_1", "interest_2"), F.greatest("interest_1", "interest_2")
    drawn = index_below(world.uniform("user/interest_3", "user"), max(1, world.settings.topics - 2))
    # Drawn among the topics that are left, and counted past the two that are taken.
    return F.when(drawn < low, drawn).when(drawn + 1 < high, drawn + 1).otherwise(drawn + 2)


def _registered_ms(world: World) -> Column:
    """Return when the person registered, up to LONGEST_REGISTERED_DAYS before the first simulated day."""
    age = 1.0 - world.uniform("user/registered", "user")
    return F.lit(world.start_ms) - F.floor(age * LONGEST_REGISTERED_DAYS * DAY_MS).cast("bigint")


def exposures_of(world: World, active_days: Column) -> Column:
    """Return how many contents the person is shown in so many active days, with a skew over people.

    The activity's quantile runs evenly through the people, so the total hardly depends on the seed.
    """
    users = world.settings.users
    quantile = (permuted(F.col("user"), users, world.settings.seed) + world.uniform("user/activity", "user")) / users
    # The least keeps the logarithm finite where the quantile rounds to 1.
    activity = F.pow(-F.log(F.greatest(1.0 - quantile, F.lit(1e-15))), F.lit(1 / ACTIVITY_SHAPE))
    wanted = activity * _exposures_at_unit_activity(world) * active_days / world.settings.days
    shown = F.floor(wanted + world.uniform("user/exposures", "user"))
    return F.least(shown, F.lit(_most_exposures(world))).cast("bigint")


def _most_exposures(world: World) -> int:
    return max(1, int(world.settings.contents * LARGEST_SHARE_SEEN))


def _exposures_at_unit_activity(world: World) -> float:
    """Return the factor that makes the mean number of exposures the wanted one, the most active ones' limit included.

    It evens out over a grid of people: 200 quantiles of activity x 18 shares of active days, 5 of them partial as 28 %
    of the people are.

    Raises:
        InputError: there are too few contents for so many events a person.
    """
    most, wanted = _most_exposures(world), world.exposures_per_user
    activities = [(-math.log(1 - (n + 0.5) / 200)) ** (1 / ACTIVITY_SHAPE) for n in range(200)]
    shares = [1.0] * 13 + [(n + 0.5) / 5 for n in range(5)]
    grid = [activity * share for activity in activities for share in shares]
    low, high = 0.0, 100 * wanted
    if sum(min(high * place, most) for place in grid) / len(grid) < wanted:
        raise InputError(
            f"simulate.events={world.settings.events} shows each of {world.settings.users} people {wanted:.0f} of "
            f"{world.settings.contents} contents on average: raise simulate.contents or simulate.users"
        )
    for _ in range(40):
        middle = (low + high) / 2
        is_enough = sum(min(middle * place, most) for place in grid) / len(grid) >= wanted
        low, high = (low, middle) if is_enough else (middle, high)
    return high


def next_region(region: Column) -> Column:
    """Return the region that somebody of `region` moves to."""
    names = list(REGIONS)
    return _lookup(region, dict(zip(names, [*names[1:], names[0]], strict=True)))


def offset_min(region: Column) -> Column:
    """Return a region's local time minus UTC, minutes."""
    return _lookup(region, OFFSETS_MIN).cast("int")


def _lookup(key: Column, values: dict[str, str] | dict[str, int]) -> Column:
    found = F.lit(None)
    for name, value in values.items():
        found = F.when(key == name, F.lit(value)).otherwise(found)
    return found
