"""Every row rule by itself: rows that just break it, and rows that just do not."""

from typing import get_args

import pytest
from pyspark.sql import functions as F
from tests.conftest import CONF

from salience.interactions.bronze_rows import judge
from salience.interactions.rules import MEANINGS, ROW_RULES
from salience.settings import load_settings
from salience.sources.mapping import BRONZE_TABLES, Dataset
from salience.sources.typed import FIRST_OF_ROW, HAS_TIME, IS_UTF8, LACKING, RAW, UNREADABLE

pytestmark = pytest.mark.integration

SETTINGS = load_settings(
    CONF,
    "local",
    {},
    [
        "clean.max_id_length=5",
        "clean.max_dwell_s=100",
        "clean.max_value=50",
        "clean.max_lateness_days=2",
        "clean.future_tolerance_minutes=10",
    ],
).clean
DAY = "DATE'2026-11-04'"
GOOD = {
    "interactions": {
        "event_id": "'e1'",
        "raw_user_id": "'ann'",
        "content_id": "'p1'",
        "action": "'like'",
        "event_time": "TIMESTAMP'2026-11-04 10:00:00'",
    },
    "contents": {"content_id": "'p1'"},
    "users": {"raw_user_id": "'ann'"},
    "accounts": {"raw_creator_id": "'zoe'"},
    "assignments": {"experiment_id": "'x1'", "arm": "'a'", "raw_user_id": "'ann'"},
    "campaigns": {"campaign_id": "'c1'"},
    "costs": {"campaign_id": "'c1'", "cost": "1", "cost_date": DAY},
    "identifiers": {"raw_user_id": "'ann'", "kind": "'mail'", "identifier": "'0f'"},
    "blocklist": {"content_id": "'p1'"},
}
"""Dataset -> our column -> SQL; the other columns are null."""
FINE = {RAW: "struct(1 AS x)", FIRST_OF_ROW: "true", HAS_TIME: "true", IS_UTF8: "true"}
NOTHING = dict.fromkeys((LACKING, UNREADABLE), "CAST(array() AS array<string>)")


def times(text: str) -> dict[str, str]:
    return {"event_time": f"TIMESTAMP'{text}'"}


def values(column: str, *texts: str) -> list[dict[str, str]]:
    return [{column: text} for text in texts]


IDS = ("''", "' ann'", "'ann '", "'a\\nb'", "'a\\u0000b'", "'123456'"), ("'12345'", "'a b'", "'\u00e4\u4f60'")
EVENTS: dict[str, tuple[list[dict[str, str]], list[dict[str, str]]]] = {
    "missing_event_id": (values("event_id", "null"), []),
    "missing_user_id": (values("raw_user_id", "null"), []),
    "missing_content_id": (
        [{"content_id": "null"}],
        [{"content_id": "null", "action": "'follow'"}, {"content_id": "null", "action": "'unfollow'"}],
    ),
    "unknown_action": (values("action", "null"), []),
    "missing_time": ([{HAS_TIME: "false", "event_time": "null"}], []),
    "unparseable_time": (values("event_time", "null"), []),
    "future_event": ([times("2026-11-05 00:10:00")], [times("2026-11-05 00:09:59.999999")]),
    "too_late": ([times("2026-11-01 23:59:59.999999")], [times("2026-11-02 00:00:00")]),
    "negative_dwell": (values("dwell_s", "-0.001"), values("dwell_s", "0")),
    "absurd_dwell": (
        [{"dwell_s": "100.001"}, {UNREADABLE: "array('dwell_s')"}],
        values("dwell_s", "100"),
    ),
    "negative_value": (values("value", "-0.0001"), values("value", "0")),
    "absurd_value": ([{"value": "50.0001"}, {UNREADABLE: "array('value')"}], values("value", "50")),
    "absurd_rating": (
        values("rating", "double('NaN')", "double('Infinity')", "double('-Infinity')"),
        values("rating", "-1e300"),
    ),
    "absurd_propensity": (
        values("propensity", "0", "-0.1", "1.0000001", "double('NaN')"),
        values("propensity", "1e-300", "1"),
    ),
    "negative_video_length": (values("video_length_s", "-0.001"), values("video_length_s", "0")),
    "absurd_position": (values("position", "0", "-1"), values("position", "1")),
    "absurd_utc_offset": (values("utc_offset_min", "-721", "841"), values("utc_offset_min", "-720", "840")),
    "malformed_id": (values("event_id", *IDS[0]), values("event_id", *IDS[1])),
}
OTHERS: dict[str, dict[str, tuple[list[dict[str, str]], list[dict[str, str]]]]] = {
    "contents": {"missing_content_id": (values("content_id", "null"), [])},
    "users": {"missing_user_id": (values("raw_user_id", "null"), [])},
    "accounts": {"missing_creator_id": (values("raw_creator_id", "null"), [])},
    "assignments": {
        "missing_experiment": ([{"experiment_id": "null"}, {"arm": "null"}], []),
        "not_one_unit": (
            [{"raw_user_id": "null"}, {"content_id": "'p1'"}],
            [{"raw_user_id": "null", "content_id": "'p1'"}],
        ),
        "absurd_propensity": (values("propensity", "0", "1.1"), values("propensity", "0.5")),
    },
    "campaigns": {
        "missing_campaign_id": (values("campaign_id", "null"), []),
        "negative_budget": (values("budget", "-0.01"), values("budget", "0")),
    },
    "costs": {
        "missing_campaign_id": (values("campaign_id", "null"), []),
        "missing_cost": ([{"cost": "null"}, {"cost_date": "null"}], []),
        "negative_cost": (values("cost", "-0.01"), values("cost", "0")),
    },
    "identifiers": {
        "missing_user_id": (values("raw_user_id", "null"), []),
        "missing_identifier": ([{"kind": "null"}, {"identifier": "null"}], []),
    },
    "blocklist": {
        "not_one_unit": (
            [{"content_id": "null"}, {"raw_creator_id": "'zoe'"}],
            [{"content_id": "null", "raw_creator_id": "'zoe'"}],
        ),
    },
}
FIT = {
    "invalid_utf8": ([{IS_UTF8: "false"}], []),
    "missing_required": ([{LACKING: "array('slot')"}], []),
    "unreadable_value": ([{UNREADABLE: "array('position')"}], []),
}
CASES = {
    "interactions": EVENTS | FIT,
    **{
        name: rules
        | FIT
        | {"malformed_id": ([{next(c for c in GOOD[name] if c.endswith("_id")): bad} for bad in IDS[0]], [])}
        for name, rules in OTHERS.items()
    },
}
"""Dataset -> rule -> changes of a good row that break this rule and no other, and some that break none."""


def violations(spark, dataset, changes):
    """Return the broken rules of a good row with each of these changes, in their order."""
    rows = []
    for n, change in enumerate(changes):
        given = GOOD[dataset] | {"delivery_date": DAY} | FINE | NOTHING | change
        types = {column.name: column.type for column in BRONZE_TABLES[dataset].columns}
        if dataset == "interactions":
            given = {"event_date": f"CAST({given['event_time']} AS date)"} | given
        made = {"platform": "'lab'", "source_file": f"'{n:04}'", "row_hash": "0"} | given
        cells = [f"CAST({made.get(name, 'null')} AS {type_}) AS {name}" for name, type_ in types.items()]
        cells += [f"{made[name]} AS {name}" for name in (*FINE, *NOTHING)]
        rows.append(f"SELECT {', '.join(cells)}")
    found = judge(spark.sql(" UNION ALL ".join(rows)), dataset, SETTINGS)
    assert found.where(F.size("violations") == 0).where("payload IS NOT NULL").isEmpty()
    return [row["violations"] for row in found.orderBy("source_file").select("violations").collect()]


@pytest.mark.parametrize("dataset", get_args(Dataset))
def test_a_row_breaks_the_rule_that_it_is_made_to_break_and_no_other(spark, dataset):
    expected = [([rule], change) for rule, (breaking, _) in CASES[dataset].items() for change in breaking]
    expected += [([], change) for _, passing in CASES[dataset].values() for change in passing]
    expected.append(([], {}))
    found = violations(spark, dataset, [change for _, change in expected])
    for (rules, change), broken in zip(expected, found, strict=True):
        assert broken == rules, change


@pytest.mark.parametrize("dataset", get_args(Dataset))
def test_every_rule_is_tried_and_says_what_it_means(dataset):
    assert CASES[dataset].keys() == {rule.name for rule in ROW_RULES[dataset]}
    assert all(MEANINGS[name] for name in CASES[dataset])


def test_a_row_keeps_every_rule_that_it_breaks_sorted(spark):
    broken = {"raw_user_id": "null", "action": "null", "dwell_s": "-1", LACKING: "array('slot')", "position": "0"}
    names = ["absurd_position", "missing_required", "missing_user_id", "negative_dwell", "unknown_action"]
    assert violations(spark, "interactions", [broken]) == [names]
