import re

import pytest

from salience.errors import SettingsError
from salience.metrics.kpi_rules import by_table, load_rules
from salience.tables import activity, outcomes
from tests.conftest import CONF

GOOD = """
rate:
  metric: {table: gold.content_daily, of: engagements, per: impressions}
  change: {fall: 0.2, rise: 1}
  window_days: 7
actives:
  metric: {table: gold.audience_daily, of: dau, where: {segment: all, is_complete: true}}
  change: {fall: 0.15}
  window_days: 1
"""


@pytest.fixture
def load(tmp_path):
    """Load the good rules after exchanging one text in them for another."""

    def changed(old: str = "", new: str = ""):
        assert old in GOOD
        (tmp_path / "kpis.yaml").write_text(GOOD.replace(old, new, 1), encoding="utf-8")
        return load_rules(tmp_path)

    return changed


def test_rules_are_kept_by_name_and_given_by_table(load):
    rules = load()
    assert list(rules) == ["rate", "actives"]
    assert [(str(table), list(of)) for table, of in by_table(rules)] == [
        ("gold.audience_daily", ["actives"]),
        ("gold.content_daily", ["rate"]),
    ]
    assert [str(rule.metric) for rule in rules.values()] == ["engagements / impressions", "dau"]


def test_a_rule_is_for_all_platforms_or_for_the_one_that_it_names(load):
    assert load()["actives"].platforms(["feed", "video"]) == ["feed", "video"]
    assert load("segment: all", "segment: all, platform: video")["actives"].platforms(["feed"]) == ["video"]


def test_the_projects_own_rules_name_columns_of_each_day_table_of_gold():
    rules = load_rules(CONF)
    assert {"engagement_rate", "daily_actives", "stickiness"} <= set(rules)
    tables = [table for table, _ in by_table(rules)]
    assert tables == [activity.AUDIENCE_DAILY, activity.CONTENT_DAILY, outcomes.OUTCOMES]
    for table, of in by_table(rules):
        columns = {column.name for column in table.columns}
        for rule in of.values():
            metric = rule.metric
            assert {metric.of, metric.per or metric.of, *metric.where} <= columns
            # Weekdays are alike.
            assert rule.window_days % 7 == 0


def test_the_rule_that_the_readme_explains_loads(tmp_path):
    readme = (CONF.parent / "README.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(\w+: +# the KPI.*?)```", readme, re.DOTALL)
    (tmp_path / "kpis.yaml").write_text(text, encoding="utf-8")
    (rule,) = load_rules(tmp_path).values()
    assert rule.change.fall == 0.2 and rule.window_days == 7


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("rate:", "Rate:", "Rate.[key]: String should match pattern"),
        ("actives:", "rate:", "not valid YAML: the key rate is there twice"),
        (GOOD, "{}", "Dictionary should have at least 1 item"),
        (GOOD, "", "must hold a mapping of keys to values"),
        (GOOD, "rate: [", "not valid YAML"),
        (GOOD, "rate: 5", "rate: Input should be a valid dictionary"),
        ("  window_days: 7\n", "", "rate.window_days: is missing"),
        ("  window_days: 7", "  window_days: 0", "rate.window_days: Input should be greater than or equal to 1"),
        ("  window_days: 7", "  window_days: 7.5", "rate.window_days: Input should be a valid integer"),
        ("  window_days: 7", "  window_days: 40000", "rate.window_days: Input should be less than or equal to 36500"),
        ("  window_days: 7", "  window_days: 7\n  every: day", "rate.every: there is no such key"),
        ("{fall: 0.2, rise: 1}", "{}", "rate.change: Value error, give `fall`, `rise` or both"),
        ("{fall: 0.2, rise: 1}", "{drop: 0.2}", "rate.change.drop: there is no such key"),
        ("fall: 0.2", "fall: 1", "rate.change.fall: Input should be less than 1"),
        ("fall: 0.2", "fall: 20", "rate.change.fall: Input should be less than 1"),
        ("fall: 0.2", "fall: -0.2", "rate.change.fall: Input should be greater than or equal to 0"),
        ("rise: 1", "rise: .inf", "rate.change.rise: Input should be a finite number"),
        ("rise: 1", "rise: yes", "rate.change.rise: Input should be a valid number"),
        ("rise: 1", "rise: 100%", "rate.change.rise: Input should be a valid number"),
        (
            "gold.content_daily",
            "gold.content_days",
            "rate.metric.table: Value error, there is no such day table; there",
        ),
        (
            "gold.content_daily",
            "gold.user_profiles",
            "rate.metric.table: Value error, there is no such day table; there",
        ),
        ("gold.content_daily", "silver.interactions", "rate.metric.table: Value error, there is no such day table"),
        ("of: engagements, ", "", "rate.metric.of: is missing"),
        (
            "of: engagements",
            "of: likes",
            "rate.metric: Value error, `of`: gold.content_daily has no likes that adds up;",
        ),
        (
            "of: engagements",
            "of: sum(reach)",
            "`of`: gold.content_daily has no sum(reach) that adds up; there are impre",
        ),
        (
            "of: engagements",
            "of: frequency",
            "`of`: gold.content_daily has no frequency that adds up; there are impress",
        ),
        ("per: impressions", "per: people", "`per`: gold.content_daily has no people that adds up; there are impress"),
        ("per: impressions", "per: engagements", "`per`: engagements over itself never changes; name another column"),
        ("per: impressions", "mean: reach", "rate.metric.mean: there is no such key"),
        (
            "segment: all, ",
            "",
            "`where`: without a segment, gold.audience_daily counts people more than once; name one",
        ),
        (
            "segment: all",
            "segments: all",
            "`where`: gold.audience_daily cannot have segments be 'all'; it compares pla",
        ),
        ("segment: all", "segment: true", "`where`: gold.audience_daily cannot have segment be True; it compares plat"),
        ("segment: all", "segment: 7", "actives.metric.where.segment.str: Input should be a valid string"),
        (
            "is_complete: true",
            "is_complete: 'true'",
            "cannot have is_complete be 'true'; it compares platform (text), se",
        ),
        ("is_complete: true", "dau: '7'", "`where`: gold.audience_daily cannot have dau be '7'; it compares platform"),
    ],
)
def test_what_is_wrong_with_a_rule_is_told_in_one_line_with_file_rule_and_remedy(load, tmp_path, old, new, told):
    with pytest.raises(SettingsError) as caught:
        load(old, new)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/kpis.yaml: ") and told in message
    assert len(message.splitlines()) == 1


def test_a_folder_without_rules_is_told(tmp_path):
    with pytest.raises(
        SettingsError, match=r"kpis\.yaml: no such file; name the folder of the settings in SALIENCE_CONF"
    ):
        load_rules(tmp_path)
