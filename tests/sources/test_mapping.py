from pathlib import Path

import pytest

from salience.errors import SettingsError
from salience.sources.mapping import load_mapping

CONF = Path(__file__).parent.parent.parent / "conf"
GOOD = """
platform: shop
interactions:
  columns: {raw_user_id: buyer, content_id: article}
  action:
    from: kind
    values: {1: purchase, off: hide}
  event_time: {from: at, unit: seconds}
contents:
  columns: {content_id: article}
users:
  columns: {raw_user_id: buyer}
"""


@pytest.fixture
def load(tmp_path):
    """Load the good mapping after exchanging one text in it for another."""

    def changed(old: str = "", new: str = ""):
        assert old in GOOD
        (tmp_path / "sources").mkdir()
        (tmp_path / "sources" / "shop.yaml").write_text(GOOD.replace(old, new, 1), encoding="utf-8")
        return load_mapping(tmp_path, "shop")

    return changed


def test_a_mapping_holds_expressions_and_codes_as_text(load):
    mapping = load("buyer", "7")
    assert list(mapping.datasets) == ["contents", "users", "interactions"]
    assert mapping.partition == "dt"
    assert mapping.interactions.columns == {"raw_user_id": "7", "content_id": "article"}
    assert mapping.interactions.action.values["1"] == "purchase"


def test_datasets_that_a_platform_does_not_deliver_may_be_left_out(load):
    assert list(load("users:\n  columns: {raw_user_id: buyer}\n").datasets) == ["contents", "interactions"]


@pytest.mark.parametrize("platform", [file.stem for file in sorted((CONF / "sources").glob("*.yaml"))])
def test_the_projects_own_mappings_are_valid(platform):
    assert load_mapping(CONF, platform).platform == platform


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("platform: shop", "platform: store", "platform is store; it must be the file's name, shop"),
        ("platform: shop", "platform: Shop", "platform: String should match pattern"),
        ("platform: shop\n", "", "platform: is missing"),
        ("platform:", "zone: UTC\nplatform:", "zone: there is no such key"),
        ("1: purchase", "1: bought", "interactions.action.values.1: Input should be 'impression', 'view', "),
        ("unit: seconds", "unit: days", "interactions.event_time.unit: Input should be 'iso8601', 'seconds' or"),
        ("from: at, ", "", "interactions.event_time.from: is missing"),
        ("from: kind\n", "\n", "interactions.action.from: is missing"),
        ("article}", "article, colour: c}", "interactions.columns.colour: no such column; there are event_id, "),
        ("article}", "article, platform: p}", "interactions.columns.platform: no such column"),
        (", content_id: article}", "}", "interactions.columns.content_id: is missing"),
        ("contents:\n  columns: {content_id: article}", "contents:\n  columns: {}", "contents.columns.content_id: is"),
        ("users:\n  columns: {raw_user_id: buyer}", "users:\n  columns: {}", "users.columns.raw_user_id: is missing"),
        ("users:", "orders:", "orders: there is no such key"),
        ("buyer", "''", "interactions.columns.raw_user_id: "),
        ("buyer", "null", "interactions.columns.raw_user_id: "),
        ("buyer", "[a, b]", "interactions.columns.raw_user_id: "),
        ("platform: shop", "platform: [shop", "not valid YAML"),
    ],
)
def test_what_is_wrong_in_a_mapping_is_told_with_file_and_key(load, tmp_path, old, new, told):
    with pytest.raises(SettingsError) as caught:
        load(old, new)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/sources/shop.yaml: ") and told in message
    assert len(message.splitlines()) == 1


def test_a_zone_that_does_not_exist_is_refused_before_any_row_is_read(load):
    with pytest.raises(SettingsError, match=r"shop\.yaml: interactions\.event_time\.zone: .*Asia/Shanghia"):
        load("unit: seconds", "unit: iso8601, zone: Asia/Shanghia")


def test_a_platform_without_a_mapping_is_told_which_file_is_missing(tmp_path):
    with pytest.raises(SettingsError) as caught:
        load_mapping(tmp_path, "shop")
    assert str(caught.value).startswith(f"{tmp_path}/sources/shop.yaml: no such file")
