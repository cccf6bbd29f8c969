import hashlib
import hmac

import pytest

from salience.interactions.keys import find_key
from salience.interactions.pseudonyms import PseudonymKey, with_pseudonyms

IDS = [
    "",
    " ",
    "u-ann",
    "U-ANN",
    "42",
    "小红书用户",
    "Zoë",
    "Zoe\u0308",
    "😀👩‍👩‍👧",
    "line\nbreak\ttab",
    "nul\0byte",
    "quote ' \" \\ %s {}",
    "x" * 5000,
    *(f"user{n:06d}" for n in range(200)),
]
SECRETS = {
    "short": b"0123456789abcdef",
    "a block less one": b"k" * 63,
    "a block": b"k" * 64,
    "a block and one": b"k" * 65,
    "long": b"0123456789" * 40,
    "unicode": "ключ ключ 鍵鍵鍵鍵".encode(),
    "with zeros": b"\0key\0with\0zeros\0at\0its\0end\0",
}


def pseudonyms(spark, ids, key, name="user_id"):
    """Return raw id -> pseudonym, as Spark computes it."""
    frame = spark.createDataFrame([(n, text, text) for n, text in enumerate(ids)], "n int, raw string, kept string")
    made = with_pseudonyms(spark, frame, key, {"raw": name})
    assert made.columns == ["n", "kept", name]
    return {row["kept"]: row[name] for row in made.collect()}


def by_python(secret, text):
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
def test_a_pseudonym_is_the_hmac_that_python_computes(spark, secret):
    made = pseudonyms(spark, IDS, PseudonymKey("feed", secret))
    assert made == {text: by_python(secret, text) for text in IDS}
    assert len(set(made.values())) == len(IDS)


def test_a_pseudonym_is_that_of_the_test_case_of_rfc_4231(spark):
    key = PseudonymKey("feed", b"Jefe")
    assert pseudonyms(spark, ["what do ya want for nothing?"], key) == {
        "what do ya want for nothing?": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    }


def test_a_missing_id_has_no_pseudonym_and_keeps_its_row(spark):
    assert pseudonyms(spark, [None], PseudonymKey("feed", SECRETS["short"])) == {None: None}


def test_two_platforms_give_one_person_two_pseudonyms(spark):
    variables = {"SALIENCE_PSEUDONYM_KEY_FEED": "a" * 32, "SALIENCE_PSEUDONYM_KEY_VIDEO": "b" * 32}
    feed, video = (find_key(platform, "cluster", variables) for platform in ("feed", "video"))
    assert feed.key_id != video.key_id
    one, other = (set(pseudonyms(spark, IDS[:20], key).values()) for key in (feed, video))
    assert not one & other


def test_several_id_columns_are_replaced_together(spark):
    key = PseudonymKey("feed", SECRETS["short"])
    frame = spark.createDataFrame([("ann", "zoe", 1)], "raw_user_id string, raw_creator_id string, n int")
    made = with_pseudonyms(spark, frame, key, {"raw_user_id": "user_id", "raw_creator_id": "creator_id"})
    assert made.head().asDict() == {
        "n": 1,
        "user_id": by_python(key.secret, "ann"),
        "creator_id": by_python(key.secret, "zoe"),
    }


def test_no_plan_and_no_text_of_a_key_shows_the_secret(spark, capsys):
    key = PseudonymKey("feed", b"do not print this secret")
    frame = spark.createDataFrame([("ann",)], "raw string")
    with_pseudonyms(spark, frame, key, {"raw": "user_id"}).explain(extended=True)
    told = capsys.readouterr().out + repr(key) + str(key) + f"{key}" + key.key_id
    pad = bytes(b ^ 0x36 for b in key.secret)
    assert "user_id" in told
    for secret in (key.secret, pad):
        assert secret.decode("latin-1") not in told and secret.hex() not in told.lower()
