import re
import shutil
from pathlib import Path

import pytest

from salience.errors import SettingsError
from salience.settings import load_settings

CONF = Path(__file__).parent.parent / "conf"


@pytest.fixture
def conf(tmp_path):
    """The project's own base.yaml, beside a local.yaml that says only that rank is 5 and k 6."""
    shutil.copy(CONF / "base.yaml", tmp_path)
    (tmp_path / "local.yaml").write_text("recommend: {k: 6, als: {rank: 5}}\n", encoding="utf-8")
    return tmp_path


def refused(conf, variables=(), overrides=()):
    """Return the one line that load_settings refuses with."""
    with pytest.raises(SettingsError) as caught:
        load_settings(conf, "local", dict(variables), overrides)
    told = str(caught.value)
    assert caught.value.exit_code == 2
    assert len(told.splitlines()) == 1
    return told


def test_each_layer_covers_the_one_below_and_leaves_the_rest_of_a_group(conf):
    variables = {"SALIENCE_RECOMMEND__K": "7", "SALIENCE_RECOMMEND__CANDIDATES": "70", "PATH": "/bin"}
    settings = load_settings(conf, "local", variables, ["recommend.candidates=80"])
    assert settings.recommend.als.iterations == 10, "base.yaml"
    assert settings.recommend.als.rank == 5, "local.yaml over base.yaml's 32"
    assert settings.recommend.k == 7, "the variable over local.yaml's 6"
    assert settings.recommend.candidates == 80, "--set over the variable's 70"


def test_a_layer_replaces_a_list_as_a_whole_and_a_mapping_key_by_key(conf):
    settings = load_settings(
        conf, "local", {"SALIENCE_RECOMMEND__ACTION_WEIGHTS__LIKE": "9"}, ["platforms=[video]", "logs=/somewhere"]
    )
    assert settings.platforms == ["video"]
    assert settings.logs == "/somewhere"
    assert settings.recommend.action_weights["like"] == 9
    assert settings.recommend.action_weights["comment"] == 3


def test_a_layer_replaces_the_ladder_and_the_blend_as_wholes(conf):
    (conf / "local.yaml").write_text("recommend: {ladder: {als: 3, trending: 1}, blend: {ease: 1}}", encoding="utf-8")
    settings = load_settings(conf, "local", {}, ["recommend.k=8", "recommend.candidates=10"]).recommend
    assert (settings.ladder, settings.blend) == ({"als": 3, "trending": 1}, {"ease": 1})
    assert settings.places() == {"als": 7, "trending": 2}


def test_of_two_overrides_of_one_key_the_later_holds(conf):
    assert load_settings(conf, "local", {}, ["recommend.k=1", "recommend.k=2"]).recommend.k == 2


@pytest.mark.parametrize("env", ["local", "cluster"])
def test_the_projects_own_files_are_valid(env):
    assert load_settings(CONF, env, {}).platforms == ["feed", "video"]


def test_keys_and_the_place_of_the_settings_are_no_settings(conf):
    variables = {"SALIENCE_PSEUDONYM_KEY_FEED": "a secret, not a setting", "SALIENCE_CONF_DIR": str(conf)}
    with_them = load_settings(conf, "local", variables)
    assert with_them == load_settings(conf, "local", {})
    assert "secret" not in with_them.model_dump_json()


def test_an_unknown_setting_on_the_command_line_is_refused_with_key_and_origin(conf):
    assert "--set recommend.kk" in refused(conf, overrides=["recommend.kk=3"])


def test_an_unknown_setting_in_a_variable_is_refused_with_key_and_origin(conf):
    told = refused(conf, {"SALIENCE_RECOMMEND__KK": "3"})
    assert "SALIENCE_RECOMMEND__KK" in told and "recommend.kk" in told


def test_an_unknown_setting_in_a_file_is_refused_with_key_and_origin(conf):
    (conf / "local.yaml").write_text("recommend: {kk: 3}\n", encoding="utf-8")
    told = refused(conf)
    assert "local.yaml" in told and "recommend.kk" in told


def test_an_unknown_group_is_refused_with_key_and_origin(conf):
    told = refused(conf, overrides=["recommender.k=3"])
    assert told == "--set recommender.k: there is no setting recommender.k; conf/base.yaml lists them all"
    told = refused(conf, {"SALIENCE_RECOMMENDER__K": "3"})
    assert told.startswith("variable SALIENCE_RECOMMENDER__K: there is no setting recommender.k;")


def test_a_key_below_a_plain_value_is_refused(conf):
    told = refused(conf, overrides=["recommend.k.deeper=3"])
    assert told.startswith("--set recommend.k.deeper: there is no setting recommend.k.deeper;")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("recommend.k=many", "recommend.k: Input should be a valid integer"),
        ("recommend.k=2.5", "recommend.k: Input should be a valid integer"),
        ("recommend.k=[1]", "recommend.k: Input should be a valid integer (given: [1])"),
        ("recommend.k=0", "recommend.k: Input should be greater than or equal to 1 (given: 0)"),
        ("platforms=feed", "platforms: Input should be a valid list (given: 'feed')"),
        ("recommend.k=yes", "recommend.k: Input should be a valid integer (given: True)"),
        ("clean.max_dwell_s=on", "clean.max_dwell_s: Input should be a valid"),
        ("recommend.relevant_rating=.nan", "recommend.relevant_rating: Input should be a finite number"),
        ("engagement.window_days=1000000", "engagement.window_days: Input should be less than or equal to 36500"),
        ("recommend.evaluation_days=1000000000.0", "recommend.evaluation_days: Input should be less than or equal"),
        ("platforms=[feed, feed]", "platforms: Value error, names a platform twice"),
        ("simulate.days=36501", "simulate.days: Input should be less than or equal to 36500"),
        ("profiles.window_days=36501", "profiles.window_days: Input should be less than or equal to 36500"),
        ("profiles.dormant_after_days=36501", "profiles.dormant_after_days: Input should be less than or equal to"),
        ("recommend.window_days=36501", "recommend.window_days: Input should be less than or equal to 36500"),
        ("recommend.candidates=100001", "recommend.candidates: Input should be less than or equal to 100000"),
        ("simulate.events=yes", "simulate.events: Input should be a valid integer (given: True)"),
        ("simulate.seed=9223372036854775808", "simulate.seed: Value error, has more than 64 bits"),
        ("recommend.half_life_days=.inf", "recommend.half_life_days: Input should be a finite number"),
        ("recommend.action_weights.like=.nan", "recommend.action_weights.like: Input should be a finite number"),
        ("recommend.k='10'", "recommend.k: Input should be a valid integer (given: '10')"),
        ("logs=''", "logs: String should have at least 1 character"),
        ("warehouse=''", "warehouse: String should have at least 1 character"),
        ("simulate.truth=''", "simulate.truth: String should have at least 1 character"),
        ("platforms=[]", "platforms: List should have at least 1 item"),
        ("logs=", "logs: Input should be a valid string (given: None)"),
        ("recommend=10", "recommend: Input should be a valid dictionary"),
        ("recommend.als.alphas=[1, -1]", "recommend.als.alphas.1: Input should be greater than 0 (given: -1)"),
        ("metrics.positive_actions=[likes]", "metrics.positive_actions.0: Value error, there is no action 'likes'"),
        ("recommend.action_weights.coment=3", "recommend.action_weights.coment.[key]: Value error, there is no action"),
        ("recommend.candidates=5", "candidates (5) must be at least k (6)"),
        ("recommend.search.folds=7", "blend_folds (6) must be at least folds (7)"),
        ("recommend.rank.exploration_slots=6", "rank.exploration_slots (6) must be less than k (6)"),
        ("recommend.rank.mmr_lambda=1.1", "recommend.rank.mmr_lambda: Input should be less than or equal to 1"),
        ("recommend.rank.creator_cap=0", "recommend.rank.creator_cap: Input should be greater than or equal to 1"),
        ("recommend.rank.action_values={hug: 1}", "there is no action 'hug'"),
    ],
)
def test_a_value_of_the_wrong_type_or_out_of_range_is_refused_with_the_key_and_the_value(conf, override, told):
    assert told in refused(conf, overrides=[override])


def test_every_wrong_setting_is_named_at_once(conf):
    told = refused(conf, overrides=["recommend.k=many", "clean.max_lateness_days=-1"])
    assert "recommend.k:" in told and "clean.max_lateness_days:" in told


def test_a_setting_that_no_layer_gives_is_refused(conf):
    base = (conf / "base.yaml").read_text(encoding="utf-8")
    (conf / "base.yaml").write_text(base.replace("  max_lateness_days: 3\n", ""), encoding="utf-8")
    assert "clean.max_lateness_days: is missing" in refused(conf)


@pytest.mark.parametrize("override", ["recommend.k", "=3"])
def test_an_override_that_is_no_assignment_is_refused_with_an_example(conf, override):
    told = refused(conf, overrides=[override])
    assert told == f"--set {override}: write it as key=value, like recommend.als.rank=32"


def test_a_value_that_is_no_yaml_is_refused_with_its_origin(conf):
    assert refused(conf, overrides=["platforms=[feed"]) == "--set platforms: '[feed' is not valid YAML"
    assert refused(conf, overrides=["logs=2026-13-01"]) == "--set logs: '2026-13-01' is not valid YAML"
    assert refused(conf, {"SALIENCE_LOGS": "{"}) == "variable SALIENCE_LOGS: '{' is not valid YAML"


def test_a_missing_file_says_how_to_name_the_folder(conf):
    (conf / "local.yaml").unlink()
    told = refused(conf)
    assert str(conf / "local.yaml") in told and "SALIENCE_CONF_DIR" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("recommend: {k: 1\n", "local.yaml: not valid YAML"),
        ("logs: 2026-13-01\n", "local.yaml: not valid YAML: month must be in 1..12"),
        ("- recommend\n", "local.yaml: must hold a mapping"),
        ("", "local.yaml: must hold a mapping"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused_by_name(conf, text, told):
    (conf / "local.yaml").write_text(text, encoding="utf-8")
    assert told in refused(conf)


def test_the_hash_tells_settings_apart_and_nothing_else(conf):
    def hash_of(*overrides):
        return load_settings(conf, "local", {}, overrides).hash()

    assert hash_of() == hash_of("recommend.k=6")
    assert hash_of() != hash_of("recommend.k=7")


def test_a_file_that_is_not_in_utf_8_and_a_file_in_place_of_the_folder_are_refused(conf):
    (conf / "local.yaml").write_bytes("logs: Blåhaj".encode("latin-1"))
    assert refused(conf) == f"{conf}/local.yaml: is not in UTF-8"
    told = refused(conf / "local.yaml")
    assert told.startswith(
        f"{conf}/local.yaml/base.yaml: no such file; name the folder of the settings in SALIENCE_CONF"
    )


def test_a_folder_in_place_of_a_file_is_refused(conf):
    (conf / "local.yaml").unlink()
    (conf / "local.yaml").mkdir()
    assert refused(conf) == f"{conf}/local.yaml: cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["retention.bronze_days=13"], "retention.bronze_days (13) must be at least 14: 7 days for corrections beside"),
        (["retention.bronze_days=70", "clean.max_lateness_days=60"], "retention.bronze_days (70) must be at least 71"),
        (["retention.silver_days=60"], "bronze_days (90) must be at most silver_days (60)"),
        (["retention.bronze_days=null"], "bronze_days (None) must be at most silver_days (730)"),
        (["retention.silver_days=55", "retention.bronze_days=20"], "retention.silver_days: Input should be greater"),
        (["privacy.min_cell_people=0"], "privacy.min_cell_people: Input should be greater than or equal to 1"),
    ],
)
def test_layers_that_would_keep_too_little_and_cells_of_nobody_are_refused(given, told):
    with pytest.raises(SettingsError, match=re.escape(told)):
        load_settings(CONF, "local", {}, given)


def test_layers_may_keep_everything_and_bronze_as_little_as_corrections_need():
    for_ever = [f"retention.{layer}_days=null" for layer in ("bronze", "silver", "gold")]
    assert load_settings(CONF, "local", {}, for_ever).retention.bronze_days is None
    assert load_settings(CONF, "local", {}, ["retention.bronze_days=14"]).retention.bronze_days == 14
