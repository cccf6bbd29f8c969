from salience.recommend.frequency import frequency_caps, showings
from tests.recommend.rows import CUT, interactions

CHANGED = {"frequency_floor": 0.5, "frequency_min_impressions": 10, "frequency_max": 4}


def changed(settings, **more):
    rank = settings.recommend.rank.model_copy(update={**CHANGED, **more})
    return settings.recommend.model_copy(update={"rank": rank, "window_days": 30})


def shown(people, rates, *, every=1.0):
    """Return showings of a content to people, the n-th `every` days after the one before; so many of them engage."""
    for person in range(people):
        for n, engaged in enumerate(rates):
            at = 9 - n * every
            yield (f"u{person}", "a", "impression", at)
            if person < engaged:
                yield (f"u{person}", "a", "like", at - 0.5)


def test_the_cap_is_the_last_time_before_engagement_falls_below_the_floor(spark, settings):
    # Of 20 people 10, 8, 5, 4 and 9 engage with the 1st to 5th showing: the fourth earns less than a half.
    decaying = interactions(spark, *shown(20, (10, 8, 5, 4, 9)))

    def suggested(**more):
        found = frequency_caps(decaying, CUT, changed(settings, **more)).collect()
        return [row["suggested_frequency_cap"] for row in found]

    assert suggested() == [3]
    assert suggested(frequency_floor=0.3) == [4]  # frequency_max, though the fifth would do
    assert suggested(frequency_floor=0.3, frequency_max=9) == [5]  # nobody was shown it a sixth time
    assert suggested(frequency_min_impressions=21) == []


def test_showings_count_over_a_week_and_engage_within_a_day_before_the_next(spark, settings):
    events = [
        ("u", "a", "impression", 20),
        ("u", "a", "like", 19.5),
        ("u", "a", "impression", 14),
        ("u", "a", "impression", 13),  # a week after the first: the second of its week
        ("u", "a", "like", 12),  # a whole day later
        ("u", "a", "impression", 12),
        ("u", "a", "impression", 0.5),  # its day is not over
        ("u", "b", "view", 9),  # no showing, where impressions are logged
        ("u", "b", "like", 9),
        ("u", "c", "impression", 9),
        ("u", "c", "like", 9),
        ("u", "d", "impression", 40),  # before the window
        ("u", "d", "impression", 30),
        ("u", "d", "like", 28),
        ("v", "d", "impression", 33),
        ("v", "d", "impression", 29),
    ]
    found = showings(interactions(spark, *events), CUT, changed(settings))
    told = sorted((row["ordinal"], row["engages"]) for row in found.collect())
    # a: 1 yes, 2 no, 2 no, 3 yes (the like at its very instant); c: 1 yes; d of u: 1 no, of v: 2 no.
    assert told == sorted([(1, True), (2, False), (2, False), (3, True), (1, True), (1, False), (2, False)])


def test_views_are_showings_where_no_impression_is_logged(spark, settings):
    events = [(user, "a", "view", at) for user in "uv" for at in (5, 4)] + [("u", "a", "like", 5)]
    found = showings(interactions(spark, *events), CUT, changed(settings))
    assert sorted((row["ordinal"], row["engages"]) for row in found.collect()) == [
        (1, False),
        (1, True),
        (2, False),
        (2, False),
    ]
