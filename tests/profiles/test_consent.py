from salience.profiles.consent import ANALYSIS, refusing, without_refusing
from tests.silver_rows import instant, interactions, user, users

PEOPLE = [
    {"user": "agrees", "consent_analysis": True, "consent_personalised": True},
    {"user": "was never asked"},
    {"user": "analysis", "consent_analysis": False},
    {"user": "personalisation", "consent_analysis": True, "consent_personalised": False},
    {"user": "again", "consent_analysis": False, "valid_to": "5 00:00"},
    {"user": "again", "consent_analysis": True, "valid_from": "5 00:00"},
    {"user": "later", "consent_personalised": True, "valid_to": "6 00:00"},
    {"user": "later", "consent_personalised": False, "valid_from": "6 00:00"},
]


def who(frame):
    return {row["user_id"].rstrip("0") for row in frame.collect()}


def people(spark):
    return users(spark, [{"attributes": {}, "valid_from": "2 00:00"} | row for row in PEOPLE])


def test_a_refusal_of_either_counts_from_its_day_on_until_the_person_consents_again(spark):
    known = people(spark)
    assert who(refusing(known, instant("2 00:00"))) == set()
    assert who(refusing(known, instant("3 00:00"))) == {"analysis", "personalisation", "again"}
    assert who(refusing(known, instant("6 00:00"))) == {"analysis", "personalisation"}
    assert who(refusing(known, instant("7 00:00"))) == {"analysis", "personalisation", "later"}
    assert who(refusing(known, instant("7 00:00"), [ANALYSIS])) == {"analysis"}


def test_all_rows_of_who_refuses_leave_and_only_those_on_that_platform(spark):
    names = ("agrees", "was never asked", "analysis", "later", "unknown")
    rows = [{"user": name, "at": "2 10:00", "platform": p} for name in names for p in ("feed", "video")]
    left = without_refusing(interactions(spark, rows), people(spark), instant("7 00:00")).select("platform", "user_id")
    kept = {("feed", user(name)) for name in ("agrees", "was never asked", "unknown")}
    assert {tuple(row) for row in left.collect()} == kept | {("video", user(name)) for name in names}
    assert left.count() == len(kept) + len(names)
