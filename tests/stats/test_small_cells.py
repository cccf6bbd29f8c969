"""What an attacker who has the published rows can learn: nothing about 1 to 4 people."""

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F

from salience.stats.small_cells import PEOPLE, SUPPRESSED, Cell, Segments, SmallCells, suppressed
from salience.tables.activity import AUDIENCE_DAILY

K = 5
FIRST = date(2026, 11, 1)
COUNTS = ("dau", "wau_7d", "mau_28d")
FIGURES = (*COUNTS, "stickiness_dau_over_mau", "watch_time_s_by_active_user")
ATTRIBUTES = {"region": ("north", "south", "east", "west"), "age": ("young", "old")}
SCHEMA = (
    "event_date date, platform string, segment string, dau long, wau_7d long, mau_28d long, "
    "stickiness_dau_over_mau double, watch_time_s_by_active_user double, people map<string,bigint>"
)

crowds = st.fixed_dictionaries(
    {
        **{name: st.sampled_from([*values, None]) for name, values in ATTRIBUTES.items()},
        "days_since": st.sampled_from([0, 0, 0, 3, 20]),
        "watched": st.booleans(),
    }
).flatmap(lambda kind: st.integers(1, 9).map(lambda size: [kind] * size))
worlds = st.lists(crowds, min_size=1, max_size=7).map(lambda drawn: [person for crowd in drawn for person in crowd])


def told_of(people):
    """Return the exact counts of some people."""
    return {
        "dau": sum(person["days_since"] == 0 for person in people),
        "wau_7d": sum(person["days_since"] < 7 for person in people),
        "mau_28d": len(people),
        "watchers": sum(person["days_since"] == 0 and person["watched"] for person in people),
    }


def segments_of(world):
    """Return segment -> the people in it, `all` and those of unknown value included."""
    of = {"all": world}
    for name, values in ATTRIBUTES.items():
        for value in (*values, None):
            if people := [person for person in world if person[name] == value]:
                of[f"{name}={value}"] = people
    return of


def exact(spark, drawn):
    rows = []
    for place, world in enumerate(drawn):
        for segment, people in segments_of(world).items():
            if not segment.endswith("=None"):
                n = told_of(people)
                watched = 7.0 * n["watchers"] / n["dau"] if n["dau"] else None
                counts = (*(n[name] for name in COUNTS), n["dau"] / n["mau_28d"], watched)
                day = FIRST + timedelta(days=place)
                rows.append((day, "feed", segment, *counts, {"watchers": n["watchers"]}))
    return spark.createDataFrame(rows, SCHEMA)


def is_safe(people):
    return people == 0 or people >= K


@pytest.mark.integration  # hundreds of tables: make check would take too long
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=st.lists(worlds, min_size=15, max_size=25))
def test_no_figure_difference_or_rest_is_about_fewer_than_k_people_and_what_is_shown_is_exact(spark, drawn):
    given_rows = exact(spark, drawn)
    before = {(row["event_date"], row["segment"]): row.asDict() for row in given_rows.collect()}
    after = suppressed(given_rows, AUDIENCE_DAILY.small_cells, K).collect()
    assert len(after) == len(before)
    found = {(row["event_date"], row["segment"]): row.asDict() for row in after}
    for key, row in found.items():
        hidden = [name for name in FIGURES if row[name] is None and before[key][name] is not None]
        assert row[SUPPRESSED] == len(hidden)
        assert {name: row[name] for name in FIGURES if name not in hidden} == {
            name: before[key][name] for name in FIGURES if name not in hidden
        }
    for place, world in enumerate(drawn):
        day = FIRST + timedelta(days=place)
        attack({segment: found.get((day, segment)) for segment in segments_of(world)}, segments_of(world))


def attack(published, people_of):
    """Compute what a world's rows (None for people of unknown value) tell, and compare with who is in the world."""
    truth = {segment: told_of(people) for segment, people in people_of.items()}

    def shown(segment, *names):
        row = published[segment]
        return row is not None and all(row[name] is not None for name in names)

    measures = {name: ((name,), lambda n, name=name: n[name]) for name in COUNTS}
    for inner, outer in (*pairwise(COUNTS), ("dau", "mau_28d")):
        measures[f"{outer} - {inner}"] = ((inner, outer), lambda n, i=inner, o=outer: n[o] - n[i])
    measures["watchers"] = (("watch_time_s_by_active_user",), lambda n: n["watchers"])
    any_small = False
    for what, (names, count) in measures.items():
        for segment, row in published.items():
            any_small |= not is_safe(count(truth[segment]))
            if row is not None and shown(segment, *names):
                assert is_safe(count(truth[segment])), (what, segment)
        if shown("all", *names):
            for attribute in ATTRIBUTES:
                own = [segment for segment in published if segment.startswith(f"{attribute}=")]
                rest = sum(count(truth[segment]) for segment in own if not shown(segment, *names))
                assert is_safe(rest), (what, attribute)
    for row in filter(None, published.values()):
        # A ratio beside one of its two counts tells the other.
        assert row["dau"] is not None or row["stickiness_dau_over_mau"] is None
        assert any_small or row[SUPPRESSED] == 0


def audience(spark, small, *rows, fewest=K):
    """Return segment -> n after suppression of rows (segment, n)."""
    frame = spark.createDataFrame([("d", *row) for row in rows], "day string, segment string, n long")
    return {row["segment"]: row["n"] for row in suppressed(frame, small, fewest).collect()}


BY_SEGMENT = SmallCells((Cell("n", ("n",)),), segments=Segments(("day",), "segment", "all"))


def test_one_hidden_segment_takes_the_next_smallest_with_it_and_two_that_are_enough_take_none(spark):
    rows = [("all", 60), ("a=1", 3), ("a=2", 40), ("a=3", 17), ("b=1", 3), ("b=2", 4), ("b=3", 53)]
    assert audience(spark, BY_SEGMENT, *rows) == {
        "all": 60, "a=1": None, "a=2": 40, "a=3": None, "b=1": None, "b=2": None, "b=3": 53,
    }  # fmt: skip
    assert audience(spark, BY_SEGMENT, *rows, fewest=1) == dict(rows)
    assert audience(spark, BY_SEGMENT, ("all", 50), ("a=1", 1), ("a=2", 1), ("a=3", 8), ("a=4", 40))["a=3"] is None


def test_people_of_unknown_value_are_protected_like_a_segment_and_protect_others(spark):
    assert audience(spark, BY_SEGMENT, ("all", 60), ("a=1", 38), ("a=2", 20))["a=2"] is None
    enough = [("all", 60), ("a=1", 3), ("a=2", 40)]
    assert audience(spark, BY_SEGMENT, *enough) == {"all": 60, "a=1": None, "a=2": 40}


def test_nobody_is_nothing_to_hide_and_too_few_at_all_hide_everything(spark):
    assert audience(spark, BY_SEGMENT, ("all", 9), ("a=1", 0), ("a=2", 9)) == {"all": 9, "a=1": 0, "a=2": 9}
    assert set(audience(spark, BY_SEGMENT, ("all", 4), ("a=1", 1), ("a=2", 3)).values()) == {None}


def test_entries_of_a_map_are_hidden_by_their_own_people_and_rows_once_suppressed_stay_as_they_are(spark):
    small = SmallCells((Cell("people['everyone']", ("n", "actions")),), maps=("actions",))
    schema = f"n long, actions map<string,bigint>, people map<string,bigint>, {SUPPRESSED} int"
    rows = [
        (1, {"like": 90, "share": 9}, {"everyone": 20, "like": 20, "share": 2}, None),
        (2, {"like": 9}, {"everyone": 3, "like": 3}, None),
        (3, {"share": 9}, {"everyone": 5, "share": 5}, None),
    ]
    once = suppressed(spark.createDataFrame(rows, schema), small, K)
    expected = [(1, {"like": 90, "share": None}, 1), (3, {"share": 9}, 0), (None, None, 2)]
    assert sorted((tuple(row) for row in once.collect()), key=str) == expected
    again = suppressed(once.withColumn(PEOPLE, F.lit(None).cast("map<string,bigint>")), small, K)
    assert sorted((tuple(row) for row in again.collect()), key=str) == expected
