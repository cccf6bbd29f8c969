import re
from datetime import date

import pytest
from tests.conftest import CONF

from salience.errors import SettingsError
from salience.sources.fit import require_fitting
from salience.sources.mapping import load_mapping, needed_columns

PLATFORMS = ["articles", "feed", "movietweetings", "openbandit", "shop", "video"]
GOOD = """
platform: shop
interactions:
  raw: {buyer: string, article: string, kind: string, at: bigint}
  columns: {raw_user_id: buyer, content_id: article}
  action:
    from: kind
    values: {1: purchase, "off": hide}
  event_time: {from: at, unit: seconds}
contents:
  raw: {article: string}
  columns: {content_id: article}
users:
  raw: {buyer: string}
  columns: {raw_user_id: buyer}
accounts:
  raw: {seller: string}
  columns: {raw_creator_id: seller}
assignments:
  raw: {test: string, who: string, arm: string}
  columns: {experiment_id: test, raw_user_id: who, arm: arm}
campaigns:
  raw: {campaign: string}
  columns: {campaign_id: campaign}
costs:
  raw: {campaign: string, day: date, spent: double}
  columns: {campaign_id: campaign, cost_date: day, cost: spent}
identifiers:
  raw: {buyer: string, mail: string}
  columns: {raw_user_id: buyer, kind: "'mail'", identifier: mail}
blocklist:
  raw: {blocked: string}
  columns: {content_id: blocked}
"""
ACTION = """  action:
    from: kind
    values: {1: purchase, "off": hide}
"""
USERS = "users:\n  raw: {buyer: string}\n  columns: {raw_user_id: buyer}\n"


@pytest.fixture
def load(tmp_path):
    """Load the good mapping after exchanging one text in it for another."""

    def changed(old: str = "", new: str = ""):
        assert old in GOOD
        (tmp_path / "sources").mkdir()
        (tmp_path / "sources" / "shop.yaml").write_text(GOOD.replace(old, new, 1), encoding="utf-8")
        return load_mapping(tmp_path, "shop")

    return changed


def test_a_mapping_holds_expressions_and_codes_as_text_and_the_usual_folders_where_it_names_none(load):
    mapping = load("raw_user_id: buyer", "raw_user_id: 7")
    assert mapping.interactions.columns == {"raw_user_id": "7", "content_id": "article"}
    assert mapping.interactions.action.values == {"1": "purchase", "off": "hide"}
    assert mapping.partition.folder(date(2026, 11, 2)) == "dt=2026-11-02"
    assert (mapping.complete.marker, mapping.complete.settled_minutes) == ("_SUCCESS", None)


def test_datasets_come_in_the_order_of_cleaning_interactions_last_whatever_the_files_order(load):
    assert list(load().datasets) == [
        *("contents", "users", "accounts", "assignments", "campaigns", "costs", "identifiers", "blocklist"),
        "interactions",
    ]


def test_datasets_that_a_platform_does_not_deliver_may_be_left_out(load):
    assert "users" not in load(USERS, "").datasets


def test_a_row_needs_its_ids_and_an_event_id_only_where_one_is_mapped(load):
    mapping = load("article}\n  action", "article, event_id: at}\n  action")
    needed = {name: needed_columns(name, part) for name, part in mapping.datasets.items()}
    assert needed["interactions"] == ("raw_user_id", "content_id", "event_id")
    assert (needed["costs"], needed["blocklist"]) == (("campaign_id", "cost_date", "cost"), ())


def test_the_projects_mappings_are_these():
    assert sorted(file.stem for file in (CONF / "sources").glob("*.yaml")) == PLATFORMS


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_projects_own_mappings_load_and_fit(spark, platform):
    mapping = load_mapping(CONF, platform)
    assert mapping.platform == platform
    require_fitting(spark, mapping)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("platform: shop", "platform: store", "platform is store; it must be the file's name, shop"),
        ("platform: shop", "platform: Shop", "platform: String should match pattern"),
        ("platform: shop\n", "", "platform: is missing"),
        ("platform: shop", "platform: [shop", "not valid YAML"),
        ("platform:", "zone: UTC\nplatform:", "zone: there is no such key"),
        ("users:", "orders:", "orders: there is no such key"),
        ("platform:", "format: csv\nplatform:", "format: there is no such key"),
        ("platform: shop", "platform: shop\nplatform: shop", "not valid YAML: the key platform is there twice"),
        # partition and complete
        (
            "platform:",
            "partition: p_date=yyyyMMdd\nplatform:",
            "partition: Value error, it must name %Y, %m and %d once",
        ),
        ("platform:", "partition: dt=%Y-%m\nplatform:", "partition: Value error, it must name %Y, %m and %d once each"),
        ("platform:", "partition: /%Y/%m/%d\nplatform:", "partition: Value error, write it like dt=%Y-%m-%d"),
        ("platform:", "complete: {}\nplatform:", "complete: Value error, give either `marker` or `settled_minutes`"),
        (
            "platform:",
            "complete: {marker: _X, settled_minutes: 5}\nplatform:",
            "complete: Value error, give either `marker` or `settled_minutes`",
        ),
        (
            "platform:",
            "complete: {settled_minutes: 0}\nplatform:",
            "complete.settled_minutes: Input should be greater than 0",
        ),
        # raw and required
        ("  raw: {buyer: string, article: string, kind: string, at: bigint}\n", "", "interactions.raw: is missing"),
        ("raw: {article: string}", "raw: {}", "contents.raw: Dictionary should have at least 1 item"),
        ("raw: {article: string}", "raw: [article]", "contents.raw: Input should be a valid dictionary"),
        ("raw: {article: string}", "raw: {article: 7}", "contents.raw.article: Input should be a valid string"),
        (
            "raw: {article: string}",
            "raw: {article: string, ARTICLE: int}",
            "contents.raw.article: is there twice; Spark does not tell upper from lower case",
        ),
        (
            "raw: {article: string}",
            "raw: {article: string}\n  required: [title]",
            "contents.required: title is not among the columns of contents.raw",
        ),
        # columns and defaults
        (
            "article}\n  action",
            "article, colour: c}\n  action",
            "interactions.columns.colour: no such column; there are",
        ),
        ("article}\n  action", "article, platform: p}\n  action", "interactions.columns.platform: no such column"),
        ("article}\n  action", "article, event_time: at}\n  action", "interactions.columns.event_time: no such column"),
        (
            "article}\n  action",
            "article}\n  defaults: {colour: red}\n  action",
            "interactions.defaults.colour: no such",
        ),
        (
            "article}\n  action",
            "article}\n  defaults: {action: view}\n  action",
            "interactions.defaults.action: no such",
        ),
        *(
            (
                "article}\n  action",
                f"article, event_id: at}}\n  defaults: {{{name}: unknown}}\n  action",
                f"interactions.defaults.{name}: an id has no default; all that have none would be taken for the same",
            )
            for name in ("raw_user_id", "event_id", "content_id", "raw_creator_id")
        ),
        (
            "article}\n  action",
            "article}\n  defaults: {event_time: 0}\n  action",
            "interactions.defaults.event_time: no such column",
        ),
        (
            ", identifier: mail}",
            ", identifier: mail}\n  defaults: {identifier: x}",
            "identifiers.defaults.identifier: an id",
        ),
        ("buyer,", "'',", "interactions.columns.raw_user_id: "),
        ("buyer,", "null,", "interactions.columns.raw_user_id: "),
        ("buyer,", "[a, b],", "interactions.columns.raw_user_id: "),
        # what each dataset cannot do without
        (", content_id: article}\n  action", "}\n  action", "interactions.columns.content_id: is missing"),
        ("columns: {content_id: article}", "columns: {}", "contents.columns.content_id: is missing"),
        ("columns: {raw_user_id: buyer}", "columns: {}", "users.columns.raw_user_id: is missing"),
        ("columns: {raw_creator_id: seller}", "columns: {}", "accounts.columns.raw_creator_id: is missing"),
        (", arm: arm}", "}", "assignments.columns.arm: is missing"),
        (" raw_user_id: who,", "", "assignments.columns: needs raw_user_id, content_id or both"),
        ("columns: {campaign_id: campaign}", "columns: {name: campaign}", "campaigns.columns.campaign_id: is missing"),
        (", cost: spent", "", "costs.columns.cost: is missing"),
        (", identifier: mail", "", "identifiers.columns.identifier: is missing"),
        ("{content_id: blocked}", "{reason: blocked}", "blocklist.columns: needs raw_creator_id, content_id or both"),
        # action and emit
        *(
            (
                "1: purchase",
                f"{word}: purchase",
                f"interactions.action.values.{word}: YAML takes it for no word; put it in quotes: '{word}'",
            )
            for word in ("off", "Yes", "true", "null", "~", "007", "0x1F", "1_000", "1.0", "1:30", "2026-11-02")
        ),
        (
            "1: purchase",
            '1: purchase, "1": click',
            "interactions.action.values.1: is there twice, with quotes and without",
        ),
        ("1: purchase", "1: bought", "interactions.action.values.1: Input should be 'impression', 'view', "),
        ("from: kind\n", "\n", "interactions.action.from: is missing"),
        (ACTION, "", "interactions: Value error, give either `action` or `emit`"),
        (ACTION, ACTION + "  emit: {seen: {action: impression}}\n", "interactions: Value error, give either `action`"),
        (ACTION, "  emit: {}\n", "interactions: Value error, give either `action` or `emit`"),
        (ACTION, "  emit: {Seen: {action: impression}}\n", "interactions.emit.Seen.[key]: String should match pattern"),
        (ACTION, "  emit: {seen: {action: saw}}\n", "interactions.emit.seen.action: Input should be 'impression',"),
        (ACTION, "  emit: {seen: {when: kind = 1}}\n", "interactions.emit.seen.action: is missing"),
        (
            ACTION,
            "  emit: {seen: {action: impression, columns: {colour: c}}}\n",
            "interactions.emit.seen.columns.colour: no such column; there are event_id, ",
        ),
        (
            ACTION,
            "  emit: {seen: {action: impression, columns: {event_id: article}}}\n",
            "interactions.emit.seen.columns.event_id: needs columns.event_id; without it, it is made of",
        ),
        (
            "article}\n  action",
            "article}\n  defaults: {utc_offset_min: 60}\n  action",
            "defaults.utc_offset_min: needs",
        ),
        # event_time
        ("unit: seconds", "unit: days", "interactions.event_time.unit: Input should be 'iso8601', 'text', 'seconds', "),
        ("from: at, ", "", "interactions.event_time.from: is missing"),
        ("unit: seconds", "unit: text", "event_time: Value error, `format` goes with `unit: text`, and the other way"),
        ("unit: seconds", "unit: seconds, format: yyyy", "event_time: Value error, `format` goes with `unit: text`"),
        ("unit: seconds", "unit: iso8601, zone: Asia/Shanghia", "event_time.zone: Value error, there is no such time"),
    ],
)
def test_what_is_wrong_in_a_mapping_is_told_with_file_and_key(load, tmp_path, old, new, told):
    with pytest.raises(SettingsError) as caught:
        load(old, new)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/sources/shop.yaml: ") and told in message
    assert len(message.splitlines()) == 1


def test_a_platform_without_a_mapping_is_told_which_file_is_missing(tmp_path):
    with pytest.raises(SettingsError) as caught:
        load_mapping(tmp_path, "shop")
    assert str(caught.value).startswith(f"{tmp_path}/sources/shop.yaml: no such file")


def test_the_mapping_that_the_readme_explains_loads_and_fits_also_with_its_other_way_to_actions(spark, tmp_path):
    readme = (CONF.parent / "README.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(platform: .*?)```", readme, re.DOTALL)
    (tmp_path / "sources").mkdir()
    file = tmp_path / "sources" / "podcasts.yaml"
    file.write_text(text, encoding="utf-8")
    mapping = load_mapping(tmp_path, "podcasts")
    require_fitting(spark, mapping)
    assert set(mapping.interactions.action.values.values()) == {"play", "like", "share"}
    without_action = re.sub(r"  action:.*\n(?:    .*\n)+", "", text)
    file.write_text(re.sub(r"(?m)^  # (?=emit:|  )", "  ", without_action), encoding="utf-8")
    mapping = load_mapping(tmp_path, "podcasts")
    require_fitting(spark, mapping)
    assert list(mapping.interactions.emit) == ["shown", "heard"]
