from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from salience.recommend.arms import HELD_OUT, NOT_PERSONALISED, PERSONALISED
from salience.recommend.outcomes import outcomes
from salience.tables.outcomes import OUTCOMES
from salience.tables.suppression import publishable

pytestmark = pytest.mark.integration  # many resamplings: make check would take too long

DAY = date(2026, 11, 11)
LISTS = (
    "event_date date, platform string, release_id string, arm string, user_id string, rank int, content_id string, "
    "source string, p_engage_24h double"
)
EVENTS = "event_time timestamp, platform string, user_id string, content_id string, action string, rating double"
SINCE, UNTIL = datetime(2026, 11, 10, 5, tzinfo=UTC), datetime(2026, 11, 11, 4, tzinfo=UTC)
WINDOW = "event_date date, since timestamp, until timestamp"


def windows(spark):
    return spark.createDataFrame([(DAY, SINCE, UNTIL)], WINDOW)


@pytest.fixture
def measured(spark, settings):
    """Return the rows by arm and segment, as dicts of their figures."""

    def measure(lists, events, min_people=2):
        holdout = settings.recommend.holdout.model_copy(update={"min_people": min_people})
        asked = settings.recommend.model_copy(update={"holdout": holdout})
        listed = spark.createDataFrame([(DAY, "feed", "2026-11-10.1", *row) for row in lists], LISTS)
        done = spark.createDataFrame([(SINCE, "feed", *row, *[None] * (4 - len(row))) for row in events], EVENTS)
        found = outcomes(listed, windows(spark), done, asked)
        return {(row["arm"], row["segment"]): row.asDict() for row in found.collect()}

    return measure


def figures(row, *names):
    return tuple(row[name] for name in names)


COUNTS = ("served", "recommended", "shown", "engaged", "engagers", "engagements")


def test_what_was_shown_and_engaged_with_is_counted_by_rank_source_and_model(measured):
    told = measured(
        [
            (PERSONALISED, "u", 1, "a", "als", 0.5),
            (PERSONALISED, "u", 2, "b", "trending", 0.4),
            (PERSONALISED, "v", 1, "c", "als", None),
            (PERSONALISED, "v", 2, "a", "trending", None),
        ],
        [
            ("u", "a", "impression"),
            ("u", "a", "impression"),
            ("u", "a", "like"),
            ("u", "a", "share"),
            ("u", "b", "view"),
            ("u", "other", "like"),
            ("v", "b", "like"),
            ("v", "c", "rate", 9.0),
            ("v", "a", "rate", 2.0),
            ("v", "a", "hide"),
            ("stranger", "a", "like"),
        ],
    )
    assert {segment: figures(row, *COUNTS) for (_, segment), row in told.items()} == {
        "all": (2, 4, 2, 2, 2, 5),
        "rank=1": (2, 2, 1, 2, None, None),
        "rank=2": (2, 2, 1, 0, None, None),
        "source=als": (2, 2, 1, 2, None, None),
        "source=trending": (2, 2, 1, 0, None, None),
        "model=logistic": (1, 2, 2, 1, None, None),
        "model=none": (1, 2, 0, 1, None, None),
    }
    whole = told[PERSONALISED, "all"]
    assert figures(whole, "shown_rate_by_recommended", "engaged_rate_by_recommended") == (0.5, 0.5)
    assert figures(whole, "engager_rate_by_served", "engagements_by_served") == (1.0, 2.5)
    # Two people with 3 and 2 engagements: 2.5 -+ 1.96 sqrt(2 / (2 - 1) * 0.5 / 4).
    assert figures(whole, "engagements_by_served_ci_low", "engagements_by_served_ci_high") == pytest.approx(
        (1.52, 3.48), abs=1e-4
    )


def test_who_is_served_and_does_nothing_counts_too_and_other_times_and_platforms_do_not(measured, spark, settings):
    told = measured([(HELD_OUT, "idle", 1, "a", "trending", None)], [])
    assert figures(told[HELD_OUT, "all"], *COUNTS) == (1, 1, 0, 0, 0, 0)
    listed = spark.createDataFrame([(DAY, "feed", "r", HELD_OUT, "u", 1, "a", "trending", None)], LISTS)
    moment = timedelta(microseconds=1)
    elsewhere = [(SINCE - moment, "feed"), (UNTIL, "feed"), (SINCE, "video")]
    for places, found in ((elsewhere, 0), ([(SINCE, "feed"), (UNTIL - moment, "feed")], 2)):
        events = spark.createDataFrame([(*place, "u", "a", "like", None) for place in places], EVENTS)
        (row,) = outcomes(listed, windows(spark), events, settings.recommend).where("segment = 'all'").collect()
        assert figures(row, *COUNTS) == (1, 1, 0, found // 2, found // 2, found)


def test_the_personalised_are_compared_with_who_is_held_out_where_both_are_enough(measured):
    lists = [(PERSONALISED, f"p{n}", 1, "a", "als", None) for n in range(4)]
    lists += [(HELD_OUT, f"h{n}", 1, "a", "trending", None) for n in range(3)]
    lists += [(NOT_PERSONALISED, "refusing", 1, "a", "trending", None)]
    events = [(user, "x", "like") for user in ("p0", "p0", "p1", "p2", "h0", "refusing")]
    less = ("engager_rate_less_held_out", "engagements_by_served_less_held_out")
    told = measured(lists, events, min_people=3)
    whole = told.pop((PERSONALISED, "all"))
    assert figures(whole, *less) == pytest.approx((3 / 4 - 1 / 3, 4 / 4 - 1 / 3))
    assert whole["engager_rate_less_held_out_ci_low"] < 0 < whole["engager_rate_less_held_out_ci_high"]
    assert {figures(row, *less) for row in told.values()} == {(None, None)}
    assert figures(measured(lists, events, min_people=4)[PERSONALISED, "all"], *less) == (None, None)


def test_the_intervals_of_the_differences_hold_a_planted_effect_as_often_as_they_say(spark, settings):
    worlds, generator = 1000, np.random.default_rng(7)
    arms = [(PERSONALISED, 160, 0.42), (HELD_OUT, 120, 0.3)]
    people, events = [], []
    for arm, size, share in arms:
        engages = generator.random((worlds, size)) < share
        # Who engages does so 1 + Poisson(1) times, so the means differ by twice the difference of the shares.
        times = engages * (1 + generator.poisson(1.0, (worlds, size)))
        world, person = (grid.ravel() for grid in np.indices((worlds, size)))
        frame = pd.DataFrame({"world": world, "user_id": [f"{arm}{n}" for n in person], "arm": arm})
        people.append(frame)
        events.append(frame.loc[frame.index.repeat(times.ravel()), ["world", "user_id"]])
    of_world = F.date_add(F.lit(date(2020, 1, 1)), F.col("world").cast("int")).alias("event_date")
    listed = spark.createDataFrame(pd.concat(people)).select(
        of_world,
        F.lit("feed").alias("platform"),
        F.lit("r").alias("release_id"),
        "arm",
        "user_id",
        F.lit(1).alias("rank"),
        F.lit("c").alias("content_id"),
        F.lit("als").alias("source"),
        F.lit(None).cast("double").alias("p_engage_24h"),
    )
    done = spark.createDataFrame(pd.concat(events)).select(
        of_world.cast("timestamp").alias("event_time"),
        F.lit("feed").alias("platform"),
        "user_id",
        F.lit("x").alias("content_id"),
        F.lit("like").alias("action"),
        F.lit(None).cast("double").alias("rating"),
    )
    days = [date(2020, 1, 1) + timedelta(days=n) for n in range(worlds)]
    each = spark.createDataFrame(
        [(day, day, day + timedelta(days=1)) for day in days], "event_date date, a date, b date"
    )
    whole = each.selectExpr("event_date", "timestamp(a) AS since", "timestamp(b) AS until")
    told = outcomes(listed, whole, done, settings.recommend).where(f"arm = '{PERSONALISED}' AND segment = 'all'")
    shares = told.select(
        *(
            F.avg(F.lit(truth).between(F.col(f"{name}_ci_low"), F.col(f"{name}_ci_high")).cast("int"))
            for name, truth in (("engager_rate_less_held_out", 0.12), ("engagements_by_served_less_held_out", 0.24))
        ),
        F.avg(F.col("engager_rate_less_held_out").cast("double")),
    ).head()
    # The Monte Carlo error of a coverage is .007, that of the mean difference .0018.
    assert 0.93 <= shares[0] <= 0.97 and 0.93 <= shares[1] <= 0.97
    assert shares[2] == pytest.approx(0.12, abs=0.006)


def test_figures_about_few_people_and_differences_to_them_are_hidden(measured, spark, settings):
    sources = ["als"] * 20 + ["trending"] * 12 + ["explore"] * 3
    lists = [(DAY, "feed", "r", PERSONALISED, f"u{n}", 1, "a", source, None) for n, source in enumerate(sources)]
    lists += [(DAY, "feed", "r", HELD_OUT, f"h{n}", 1, "a", "trending", None) for n in range(20)]
    liked = [*(f"u{n}" for n in range(8)), *(f"u{n}" for n in range(20, 26)), "u32", "h1", "h2"]
    events = [(SINCE, "feed", user, "a", "like", None) for user in liked]
    holdout = settings.recommend.holdout.model_copy(update={"min_people": 20})
    asked = settings.recommend.model_copy(update={"holdout": holdout})
    exact = outcomes(spark.createDataFrame(lists, LISTS), windows(spark), spark.createDataFrame(events, EVENTS), asked)
    told = {(row["arm"], row["segment"]): row for row in publishable(OUTCOMES, exact, 5).collect()}
    assert figures(told[PERSONALISED, "all"], "served", "engaged", "engagers") == (35, 15, 15)
    assert figures(told[PERSONALISED, "source=als"], "served", "engaged") == (20, 8)
    # Three people got something to explore; 35 less the others would say so, hence the next smallest hides as well.
    for source in ("explore", "trending"):
        assert figures(told[PERSONALISED, f"source={source}"], "served", "recommended", "engaged") == (None, None, None)
    # Two of those held out engaged: neither their figures nor the difference to them is told.
    assert figures(told[HELD_OUT, "all"], "served", "engagers", "engager_rate_by_served") == (20, None, None)
    assert told[PERSONALISED, "all"]["engager_rate_less_held_out"] is None
    assert exact.where("engager_rate_less_held_out IS NOT NULL").count() == 1
    assert told[HELD_OUT, "all"]["suppressed_cells"] > 0


@pytest.mark.parametrize("seed", range(4))
def test_what_the_shown_segments_leave_of_all_is_about_nobody_or_at_least_five_people(spark, settings, seed):
    """Lists of several sources, whose entries add up while the people in them overlap."""
    random = np.random.default_rng(seed)
    sources, chances = ["als", "trending", "explore", "tags"], [0.75, 0.2, 0.03, 0.02]
    entries = pd.DataFrame(
        [
            (f"u{person}", rank, f"c{rank}", random.choice(sources, p=chances))
            for person in range(30)
            for rank in range(1, 4)
        ],
        columns=["user_id", "rank", "content_id", "source"],
    )
    done = {name: entries[random.random(len(entries)) < share] for name, share in (("like", 0.2), ("view", 0.9))}
    rows = [(DAY, "feed", "r", PERSONALISED, *entry, None) for entry in entries.itertuples(index=False)]
    events = [
        (SINCE, "feed", entry.user_id, entry.content_id, action, None)
        for action, those in done.items()
        for entry in those.itertuples()
    ]
    exact = outcomes(
        spark.createDataFrame(rows, LISTS), windows(spark), spark.createDataFrame(events, EVENTS), settings.recommend
    )
    told = {row["segment"]: row.asDict() for row in publishable(OUTCOMES, exact, 5).collect()}
    shown_of = {name: set(those.index) for name, those in done.items()}
    of_figure = {
        "recommended": set(entries.index),
        "engaged": shown_of["like"],
        "shown": shown_of["view"] | set(),
    }
    hidden_somewhere = False
    for attribute in ("rank", "source"):
        for figure, counted in of_figure.items():
            if told["all"][figure] is None:
                continue
            hidden = {value for value in entries[attribute].unique() if told[f"{attribute}={value}"][figure] is None}
            hidden_somewhere |= bool(hidden)
            left = entries[entries[attribute].isin(hidden) & entries.index.isin(counted)]
            others = entries[entries[attribute].isin(hidden) & ~entries.index.isin(counted)]
            assert left["user_id"].nunique() not in range(1, 5)
            if figure != "recommended" and told["all"]["recommended"] is not None:
                assert others["user_id"].nunique() not in range(1, 5) or "recommended" in _also_hidden(
                    told, hidden, attribute
                )
    assert hidden_somewhere


def _also_hidden(told, values, attribute):
    """Return which figures are hidden in all of these segments too."""
    return {
        figure
        for figure in ("recommended",)
        if values and all(told[f"{attribute}={v}"][figure] is None for v in values)
    }
