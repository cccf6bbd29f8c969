from salience.profiles.segments import combined, segments_before
from tests.silver_rows import instant, user, users

PEOPLE = [
    {"user": "moves", "attributes": {"region": "EU", "plan": "free"}, "valid_from": "1 00:00", "valid_to": "5 00:00"},
    {"user": "moves", "attributes": {"region": "US"}, "valid_from": "5 00:00"},
    {"user": "stays", "attributes": {"region": "EU"}, "valid_from": "1 00:00"},
    {"user": "is unknown", "attributes": {}, "valid_from": "1 00:00"},
]


def test_people_are_in_the_segments_that_were_known_before_the_cut(spark):
    known = users(spark, PEOPLE)

    def told(cut, *attributes):
        rows = segments_before(known, instant(cut), attributes).collect()
        return sorted((row["platform"], row["user_id"], row["segment"]) for row in rows)

    moves, stays = user("moves"), user("stays")
    before = [("feed", moves, "plan=free"), ("feed", moves, "region=EU"), ("feed", stays, "region=EU")]
    assert told("5 00:00", "region", "plan") == sorted(before)
    assert told("5 00:00:01", "region", "plan") == sorted([("feed", moves, "region=US"), ("feed", stays, "region=EU")])
    assert told("1 00:00", "region") == []
    assert told("6 00:00") == []


def test_one_segment_combines_attributes_that_are_all_known_and_has_enough_people(spark):
    lives = [("a", "EU", "free"), ("b", "EU", "free"), ("c", "EU", "paid"), ("d", "EU", None)]
    rows = [
        {"user": name, "attributes": {"region": region, "plan": plan}, "valid_from": "1 00:00"}
        for name, region, plan in lives
    ]
    found = combined(users(spark, rows), instant("2 00:00"), ["region", "plan"], 2).collect()
    assert {(r["user_id"], r["segment"]) for r in found} == {(user(name), "plan=free, region=EU") for name in "ab"}
    assert combined(users(spark, rows), instant("2 00:00"), [], 1).isEmpty()
