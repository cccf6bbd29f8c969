"""What is published of contents, against who did what: no figure, and no difference of two, is about 1 to 4 people."""

from datetime import date

import numpy as np
import pytest
from pyspark.sql import functions as F

from salience.metrics.content import RATES_BY_IMPRESSIONS, content_daily
from salience.profiles.contents import content_profiles
from salience.settings import MetricSettings, ProfileSettings
from salience.tables import activity, profiles
from salience.tables.conform import conform
from salience.tables.suppression import publishable
from tests.profiles.rows import content_versions
from tests.silver_rows import interactions

K = 5
DAY = date(2026, 11, 2)
POSITIVE = ["like", "share", "comment", "favourite", "purchase"]
PARTS = {"share": "amplification", "comment": "comment", "favourite": "save", "purchase": "purchase"}
KEYS = {"event_date", "platform", "content_id", "release_id"}
NOTHING_SHOWN = KEYS | {"tags", "freshness_days", "people", "suppressed_cells"}


def log():
    """Return what people did with 60 contents on a day: each does a few things with some chance of the content's."""
    draw = np.random.default_rng(3)
    rows = []
    for content in range(60):
        chance = {action: draw.choice([0.0, 0.05, 0.2, 0.6, 0.97, 1.0]) for action in ("impression", "play", *POSITIVE)}
        for person in range(int(draw.integers(1, 40))):
            at = {"user": f"u{person}x", "content_id": f"c{content}", "at": "2 10:00"}
            for action, p in chance.items():
                if draw.random() >= p:
                    continue
                row = {**at, "action": action}
                if action == "impression":
                    row["paid"] = [True, False, None][draw.choice(3, p=[0.6, 0.35, 0.05])]
                if action == "play" and draw.random() < 0.8:
                    row |= {"dwell_s": int(draw.integers(0, 12)), "video_length_s": 10}
                rows.append(row)
            if not any(row["user"] == at["user"] and row["content_id"] == at["content_id"] for row in rows[-9:]):
                rows.append({**at, "action": "view"})
    return rows


LOG = log()


def who(content, action, **more):
    """Return the people who did this to a content."""
    found = (row for row in LOG if row["content_id"] == content and row["action"] in action)
    return {row["user"] for row in found if all(row.get(key) is value for key, value in more.items())}


def is_safe(people):
    return len(people) == 0 or len(people) >= K


def check_shares(row, content):
    """Check what people reached and people engaged tell of one another."""
    reached, engaged = who(content, ["impression"]), who(content, POSITIVE)
    both = reached & engaged
    figures = {"reach": reached, "engagers": engaged, "engaged_reach": both, "impressions": reached}
    for name, people in figures.items():
        assert row[name] is None or is_safe(people), (content, name)
    if row["engaged_reach"] is not None:
        assert row["reach"] is None or is_safe(reached - both), content
        assert row["engagers"] is None or is_safe(engaged - both), content
    if row["engagement_rate_by_reach"] is not None:
        assert row["engaged_reach"] is not None and row["reach"] is not None


def check_completion(row, content):
    """Check what the share of plays that were watched to the end tells of who watched."""
    plays = [(r["user"], r["dwell_s"] >= 9.5) for r in LOG if r["content_id"] == content and "dwell_s" in r]
    for told in (
        {who for who, _ in plays},
        {who for who, whole in plays if whole},
        {w for w, whole in plays if not whole},
    ):
        assert row["completion_rate_by_plays"] is None or is_safe(told), content


def measured(spark):
    settings = MetricSettings(segment_attributes=[], positive_actions=POSITIVE)
    return content_daily(interactions(spark, LOG), [DAY], settings).persist()


def rows_of(frame):
    return {row["content_id"]: row.asDict() for row in frame.collect()}


def test_what_a_day_of_a_content_publishes_tells_of_no_few_people(spark):
    exact = measured(spark)
    before = rows_of(exact)
    found = rows_of(conform(activity.CONTENT_DAILY, publishable(activity.CONTENT_DAILY, exact, K)))
    assert found.keys() == before.keys() and len(found) == 60
    for content, row in found.items():
        hidden = {name for name in row if name not in NOTHING_SHOWN and row[name] != before[content][name]}
        assert all(row[name] is None for name in hidden)
        assert row["suppressed_cells"] == len(hidden)
        check_shares(row, content)
        everyone = {seen["user"] for seen in LOG if seen["content_id"] == content}
        if len(everyone) < K:
            assert all(row[name] is None for name in row if name not in NOTHING_SHOWN), content
        paid = [who(content, ["impression"], paid=value) for value in (True, False, None)]
        if row["impressions_paid"] is not None:
            assert row["impressions_organic"] is not None and all(map(is_safe, paid)), content
        assert row["plays"] is None or is_safe(who(content, ["play"]))
        watched = {r["user"] for r in LOG if r["content_id"] == content and r.get("dwell_s")}
        assert row["watch_time_s"] is None or is_safe(watched)
        check_completion(row, content)
        untold = set()
        for action, rate in PARTS.items():
            part = who(content, [action])
            if row[f"{rate}_rate_by_impressions"] is None:
                untold |= part
            else:
                assert is_safe(part), (content, rate)
        if row["engagements"] is not None and row["impressions"]:
            # All engagements but the parts that are told.
            assert is_safe(untold | who(content, ["like"])), content
        for name in RATES_BY_IMPRESSIONS:
            assert row[name] is None or row["impressions"]
        if row["engagement_rate_by_impressions"] is not None:
            assert row["engagements"] is not None
    assert any(row["suppressed_cells"] == 0 for row in found.values())
    assert any(row["reach"] and row["engagers"] is None for row in found.values())
    assert any(row["engagers"] and row["engaged_reach"] is None for row in found.values())


def test_with_one_person_enough_nothing_is_suppressed(spark):
    exact = measured(spark)
    found = rows_of(publishable(activity.CONTENT_DAILY, exact, 1))
    assert {row["suppressed_cells"] for row in found.values()} == {0}
    before = rows_of(exact)
    for content, row in found.items():
        assert {**row, "people": 0, "suppressed_cells": 0} == {**before[content], "people": 0, "suppressed_cells": 0}


@pytest.mark.parametrize("times", [1, 2])
def test_what_a_profile_of_a_content_publishes_tells_of_no_few_people_however_often_it_is_done(spark, times):
    chosen = ProfileSettings(window_days=10, interest_half_life_days=2, interest_tags=2, dormant_after_days=14)
    versions = content_versions(spark, {"content_id": "c1", "tags": ["t"]})
    exact = content_profiles(interactions(spark, LOG), versions, DAY, chosen, positive_actions=POSITIVE)
    before = rows_of(exact.persist())
    shown = exact
    for _ in range(times):
        shown = publishable(profiles.CONTENT_PROFILES, shown, K)
    found = rows_of(conform(profiles.CONTENT_PROFILES, shown.withColumn("release_id", F.lit("r"))))
    assert found.keys() == before.keys()
    for content, row in found.items():
        assert row["people"] is None
        check_shares(row, content)
        check_completion(row, content)
        for action, count in (row["actions"] or {}).items():
            people = who(content, [action])
            assert count == (before[content]["actions"][action] if is_safe(people) else None), (content, action)
        if row["actions"]:
            assert row["actions"].keys() == before[content]["actions"].keys()
        hidden = [name for name in row if name not in NOTHING_SHOWN and row[name] != before[content][name]]
        entries = list((row["actions"] or {}).values()).count(None)
        assert row["suppressed_cells"] == len([name for name in hidden if row[name] is None]) + entries
        assert row["tags"] == before[content]["tags"]
    assert any(row["suppressed_cells"] == 0 for row in found.values())
