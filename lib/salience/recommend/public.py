"""Train and test rows of anybody's making: checks them, and makes splits that models are judged on."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from salience.errors import InputError
from salience.recommend.caching import kept
from salience.recommend.confidence import exact_sum
from salience.recommend.models.interface import histories
from salience.stats.draws import uniform

_SECONDS_PER_DAY = 86_400
_PERCENTILE_ACCURACY = 1_000_000
"""A percentile's rank is off by a millionth of the rows at most; what it is found with does not grow with them."""
_NO_WEIGHT = "a weight that is neither 0 nor from 1e-9 to 1e9 (if need be, scale all weights alike)"
"""Weights are summed as decimals, see confidence.exact_sum: larger ones do not fit, smaller ones would vanish."""
_LATEST_S = 1e11
"""Seconds: the year 5138. Milliseconds of any day since 1973 are more."""
_NO_TIME = "a timestamp that is neither unix seconds (not milliseconds) nor a time"


@dataclass(frozen=True)
class Split:
    """What models learn from, and whom they are judged on.

    pairs: user_id, content_id, weight (> 0, the sum over the pair's rows), age_days (from its last row to the cut; 0
    where no time is known); each pair once.
    people: user_id, own (HISTORY), seen, relevant (arrays of content_id): everybody with a weight in train and
    something relevant in test that they had nothing to do with in train.
    """

    pairs: DataFrame
    people: DataFrame


def checked_rows(frame: DataFrame, name: str) -> DataFrame:
    """Return rows as user_id, content_id (strings), weight (double), at (unix seconds, double; null without times).

    Args:
        frame: user, item[, weight][, timestamp]; ids of any plain type, timestamps as seconds, times or ISO text.
        name: what to call it in errors.

    Raises:
        InputError: a column is missing, or some values cannot be used.
    """
    kinds = dict(frame.dtypes)
    missing = [column for column in ("user", "item") if column not in kinds]
    if missing:
        raise InputError(
            f"{name}: column {missing[0]} is missing, there are: {', '.join(frame.columns) or 'none'}; columns are "
            "user, item[, weight][, timestamp]"
        )
    for column in ("user", "item"):
        if kinds[column].startswith(("array", "map", "struct", "binary")):
            raise InputError(f"{name}: column {column} is {kinds[column]}; ids are numbers or text")
    weight = F.expr("try_cast(weight AS double)") if "weight" in kinds else F.lit(1.0)
    rows = frame.select(
        F.col("user").cast("string").alias("user_id"),
        F.col("item").cast("string").alias("content_id"),
        weight.alias("weight"),
        _seconds(frame).alias("at"),
    )
    bad = {
        "an empty user": ~is_named("user_id"),
        "an empty item": ~is_named("content_id"),
        _NO_WEIGHT: ~F.coalesce((F.col("weight") == 0) | F.col("weight").between(1e-9, 1e9), F.lit(False)),
    }
    if "timestamp" in kinds:
        bad[_NO_TIME] = ~F.coalesce(F.abs("at") < F.lit(_LATEST_S), F.lit(False))
    counted = rows.agg(F.count("*").alias("rows"), *(F.count_if(is_bad).alias(what) for what, is_bad in bad.items()))
    found = counted.collect()[0].asDict()
    if not found["rows"]:
        raise InputError(f"{name}: there are no rows")
    for what in bad:
        if found[what]:
            raise InputError(f"{name}: {found[what]:,} of {found['rows']:,} rows have {what}; correct or remove them")
    return rows


def split(train: DataFrame, test: DataFrame, relevant_weight: float, cut: float | None) -> Split:
    """Part what models learn from and what they are judged on.

    Args:
        train, test: from `checked_rows`.
        relevant_weight: rows of test with a smaller weight say nothing.
        cut: the time that ages are counted to, unix seconds; None where no time is known.
    """
    age = F.lit(0.0) if cut is None else (F.lit(cut) - F.max("at")) / F.lit(float(_SECONDS_PER_DAY))
    summed = train.groupBy("user_id", "content_id").agg(
        exact_sum(F.col("weight")).alias("weight"), age.alias("age_days")
    )
    pairs = summed.where(F.col("weight") > 0)
    seen = train.groupBy("user_id").agg(F.array_sort(F.collect_set("content_id")).alias("seen"))
    wanted = test.where(F.col("weight") >= F.lit(relevant_weight)).groupBy("user_id")
    relevant = wanted.agg(F.array_sort(F.collect_set("content_id")).alias("wanted"))
    people = relevant.join(seen, "user_id", how="inner").join(histories(pairs), "user_id", how="inner")
    new = F.array_except("wanted", "seen").alias("relevant")
    return Split(pairs, people.select("user_id", "own", "seen", new).where(F.size("relevant") > 0))


def newest(rows: DataFrame) -> float | None:
    """Return the newest time of rows, unix seconds; None where no time is known."""
    row = rows.agg(F.max("at")).head()
    assert row is not None
    return None if row[0] is None else float(row[0])


def random_folds(train: DataFrame, relevant_weight: float, share: float, folds: int, seed: int) -> list[Split]:
    """Hide a share of the pairs, anew for each fold, whatever order the rows come in.

    Args:
        train: from `checked_rows`.
        relevant_weight: as in `split`.
        share: of the pairs, about.
        folds: how many.
        seed: other seeds hide other pairs.
    """
    cut = newest(train)
    made = []
    for fold in range(folds):
        draw = uniform(F.xxhash64(F.xxhash64("user_id", "content_id"), F.lit(seed), F.lit(fold)))
        is_hidden = draw < F.lit(share)
        made.append(split(train.where(~is_hidden), train.where(is_hidden), relevant_weight, cut))
    return made


def time_folds(train: DataFrame, relevant_weight: float, share: float, folds: int) -> list[Split]:
    """Hide the newest rows: the last share of them, then the share before that, and so on; nothing later is known.

    Args:
        train: from `checked_rows`, with times.
        relevant_weight: as in `split`.
        share: of the rows, about.
        folds: how many.

    Raises:
        InputError: there are no times, or nearly all rows have the same.
    """
    shares = [max(0.0, 1 - share * (fold + 1)) for fold in range(folds)]
    row = train.agg(F.percentile_approx("at", shares, _PERCENTILE_ACCURACY), F.min("at")).head()
    if row is None or row[0] is None:
        raise InputError("--inner time asks for a column timestamp in --train; add it, or use --inner random")
    if row[0][-1] <= row[1]:
        raise InputError(
            f"--inner time: too many rows of --train have its first timestamp to hide the newest {share:g} of them "
            f"{folds} times; use --inner random"
        )
    ends = [float("inf"), *row[0]]
    made = []
    for end, cut in pairwise(ends):
        before, after = F.col("at") < F.lit(cut), (F.col("at") >= F.lit(cut)) & (F.col("at") < F.lit(end))
        made.append(split(train.where(before), train.where(after), relevant_weight, cut))
    return made


@contextmanager
def held(splits: Sequence[Split], what: str, advice: str) -> Iterator[list[Split]]:
    """Hold splits for as long as the block lasts.

    Args:
        splits: to hold.
        what: they are, for the error.
        advice: for the error: what to do about it.

    Raises:
        InputError: there is nobody to judge in one of them.
    """
    with ExitStack() as stack:
        made = []
        for one in splits:
            pairs, people = stack.enter_context(kept(one.pairs)), stack.enter_context(kept(one.people))
            if people.isEmpty():
                raise InputError(
                    f"{what}: nobody can be judged: no user has both a row with a positive weight to learn from and a "
                    f"relevant item that is new to them; {advice}"
                )
            made.append(Split(pairs, people))
        yield made


def is_named(column: str) -> Column:
    """Return whether a text is more than blanks."""
    return F.coalesce(F.length(F.trim(column)) > 0, F.lit(False))


def _seconds(frame: DataFrame) -> Column:
    if "timestamp" not in frame.columns:
        return F.lit(None).cast("double")
    kind = frame.schema["timestamp"].dataType
    if isinstance(kind, T.NumericType):
        return F.col("timestamp").cast("double")
    if isinstance(kind, T.StringType):
        as_time = F.unix_micros(F.try_to_timestamp("timestamp")) / F.lit(1e6)
        return F.coalesce(F.expr("try_cast(timestamp AS double)"), as_time)
    return F.unix_micros(F.col("timestamp").cast("timestamp")) / F.lit(1e6)
