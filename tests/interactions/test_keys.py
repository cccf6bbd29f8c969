import uuid

import pytest

from salience.errors import SettingsError
from salience.interactions.keys import find_key, find_keys
from salience.interactions.pseudonyms import PseudonymKey

ALIAS = "salience.pseudonym.key.feed"
PROVIDERS = "hadoop.security.credential.provider.path"
VARIABLE = "SALIENCE_PSEUDONYM_KEY_FEED"


@pytest.fixture
def hadoop(spark):
    """The session's Hadoop configuration, put back afterwards."""
    configuration = spark.sparkContext._jsc.hadoopConfiguration()
    yield configuration
    for name in (PROVIDERS, ALIAS):
        configuration.unset(name)


@pytest.fixture
def keystore(spark, hadoop, tmp_path):
    """Keep secrets by alias in a keystore file that Hadoop makes itself, and name it in the configuration."""

    def keep(scheme="jceks", **secrets):
        jvm, gateway = spark.sparkContext._jvm, spark.sparkContext._gateway
        file = tmp_path / f"{uuid.uuid4().hex}.jceks"
        hadoop.set(PROVIDERS, f"{scheme}://file{file}")
        (provider,) = jvm.org.apache.hadoop.security.alias.CredentialProviderFactory.getProviders(hadoop)
        for platform, secret in secrets.items():
            chars = gateway.new_array(jvm.char, len(secret))
            for place, char in enumerate(secret):
                chars[place] = char
            provider.createCredentialEntry(f"salience.pseudonym.key.{platform}", chars)
        provider.flush()
        assert file.stat().st_size > 0
        return file

    return keep


def test_the_demo_key_serves_locally_and_is_refused_elsewhere():
    assert find_key("feed", "local", {}).is_demo
    with pytest.raises(SettingsError, match=r"^feed has no pseudonym key: ") as caught:
        find_key("feed", "cluster", {})
    for way in ("SALIENCE_PSEUDONYM_KEY_FEED", ALIAS, "hadoop.security.credential.provider.path"):
        assert way in str(caught.value)


def test_the_key_that_everyone_knows_is_refused_on_a_cluster_though_it_is_set():
    known = {"SALIENCE_PSEUDONYM_KEY_FEED": find_key("feed", "local", {}).secret.decode()}
    with pytest.raises(SettingsError, match="SALIENCE_PSEUDONYM_KEY_FEED"):
        find_key("feed", "cluster", known)


def test_one_platforms_key_is_not_anothers():
    with pytest.raises(SettingsError, match=r"^video has no pseudonym key"):
        find_key("video", "cluster", {"SALIENCE_PSEUDONYM_KEY_FEED": "a" * 32})


def test_a_key_that_is_set_is_used_locally_too():
    key = find_key("feed", "local", {"SALIENCE_PSEUDONYM_KEY_FEED": "a" * 32})
    assert (key.secret, key.is_demo) == (b"a" * 32, False)


@pytest.mark.parametrize(("env", "text"), [("cluster", ""), ("local", ""), ("cluster", "fifteen letters")])
def test_a_short_key_is_refused_without_being_shown(env, text):
    with pytest.raises(SettingsError, match="SALIENCE_PSEUDONYM_KEY_FEED is shorter than 16 characters") as caught:
        find_key("feed", env, {"SALIENCE_PSEUDONYM_KEY_FEED": text})
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("scheme", ["jceks", "localjceks"])
def test_a_key_comes_from_a_keystore_of_hadoops_and_each_platform_gets_its_own(spark, keystore, scheme):
    keystore(scheme, feed="a" * 32, video="ключ ключ 鍵鍵鍵鍵鍵鍵")
    keys = find_keys(spark, ["feed", "video"], "cluster", {})
    assert keys == {
        "feed": PseudonymKey("feed", b"a" * 32),
        "video": PseudonymKey("video", "ключ ключ 鍵鍵鍵鍵鍵鍵".encode()),
    }


def test_a_keystore_that_holds_other_platforms_or_is_not_there_holds_no_key(spark, keystore, hadoop, tmp_path):
    keystore(video="b" * 32)
    assert find_keys(spark, ["feed"], "local", {})["feed"].is_demo
    hadoop.set(PROVIDERS, f"jceks://file{tmp_path}/none.jceks")
    with pytest.raises(SettingsError, match=r"^feed has no pseudonym key"):
        find_keys(spark, ["feed"], "cluster", {})
    assert find_keys(spark, ["feed"], "cluster", {VARIABLE: "a" * 32})["feed"].secret == b"a" * 32


def test_a_variable_and_a_keystore_may_say_the_same_and_are_refused_where_they_differ(spark, keystore):
    keystore(feed="a" * 32)
    assert find_keys(spark, ["feed"], "cluster", {VARIABLE: "a" * 32})["feed"].secret == b"a" * 32
    with pytest.raises(SettingsError, match="differ") as caught:
        find_keys(spark, ["feed"], "cluster", {VARIABLE: "b" * 32})
    told = str(caught.value)
    assert VARIABLE in told and ALIAS in told and len(told.splitlines()) == 1
    assert all(PseudonymKey("feed", text.encode() * 32).key_id in told for text in "ab")
    assert "a" * 32 not in told and "b" * 32 not in told


@pytest.mark.parametrize(("env", "secret"), [("cluster", "too short"), ("local", "too short")])
def test_a_key_in_a_keystore_must_be_long_too(spark, keystore, env, secret):
    keystore(feed=secret)
    with pytest.raises(SettingsError, match=f"^{ALIAS} is shorter than 16 characters") as caught:
        find_keys(spark, ["feed"], env, {})
    assert secret not in str(caught.value)


def test_a_keystore_that_cannot_be_read_is_told_in_one_line_and_no_other_key_stands_for_it(spark, keystore, hadoop):
    file = keystore(feed="a" * 32)
    whole = file.read_bytes()
    store = spark.sparkContext._jvm.java.security.KeyStore.getInstance("jceks")
    store.load(None, None)
    password = spark.sparkContext._gateway.new_array(spark.sparkContext._jvm.char, 1)
    password[0] = "x"
    others = spark.sparkContext._jvm.java.io.FileOutputStream(f"{file}.other")
    store.store(others, password)
    others.close()
    cases = {
        "cut in half": whole[: len(whole) // 2],
        "rubbish": b"no keystore",
        "of another password": file.with_name(f"{file.name}.other").read_bytes(),
    }
    for case, content in cases.items():
        file.write_bytes(content)
        with pytest.raises(SettingsError, match=f"{file} cannot be read for {ALIAS}: ") as caught:
            find_keys(spark, ["feed"], "local", {VARIABLE: "a" * 32})
        assert len(str(caught.value).splitlines()) == 1 and PROVIDERS in str(caught.value), case
    hadoop.set(PROVIDERS, "nonsense://nowhere")
    with pytest.raises(SettingsError, match=r"^nonsense://nowhere cannot be read for"):
        find_keys(spark, ["feed"], "local", {})


def test_a_key_in_a_property_is_refused_though_hadoop_itself_would_take_it(spark, hadoop):
    hadoop.set(ALIAS, "my words in clear text")
    assert "".join(hadoop.getPassword(ALIAS)) == "my words in clear text"
    with pytest.raises(SettingsError, match=f"^the property {ALIAS} holds a secret in clear text") as caught:
        find_keys(spark, ["feed"], "cluster", {VARIABLE: "a" * 32})
    assert "my words" not in str(caught.value)
