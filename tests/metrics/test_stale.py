from datetime import date, timedelta

import pytest

from salience.errors import InputError
from salience.metrics.stale import Plan, Span, plan

SETTINGS = "like, share"


def day(number):
    """Return a day of November, counted on into December."""
    return date(2026, 11, 1) + timedelta(days=number - 1)


def days(first, last):
    return [day(number) for number in range(first, last + 1)]


def touched(version, *numbers, platform="feed"):
    """Return the note of a silver commit that touched these event days."""
    return (version, {"platform": platform, "event_days": [day(number).isoformat() for number in numbers]}, 9)


def measured(silver_version, *left, settings=SETTINGS):
    """Return the notes of a gold table whose last commit measured that version and left those days."""
    made = Plan([], [day(number) for number in left]).note(silver_version, settings)
    return [(7, made, 3), (6, {"silver_version": 0, "measured_by": "other", "days_left": ["2026-11-09"]}, 3)]


LOG = {"feed": Span(day(5), day(20))}


def planned(asked, silver_notes, gold_notes, window_days=1, log=LOG):
    made = plan([day(number) for number in asked], log, silver_notes, gold_notes, window_days, SETTINGS)
    return made.days, made.left


def test_the_first_time_every_day_is_measured_and_what_lies_ahead_is_left(window=7):
    assert planned([20], [touched(1, 20)], []) == (days(5, 20), [])
    assert planned([10], [touched(1, 20)], []) == (days(5, 10), days(11, 20))
    # With a window of a week the last day still counts on the six after it.
    assert planned([20], [touched(1, 20)], [], window) == (days(5, 20), days(21, 26))


def test_without_a_change_only_the_asked_days_are_measured():
    notes = [touched(4, 12), touched(3, 6)]
    assert planned([18, 20], notes, measured(4)) == ([day(18), day(20)], [])


def test_late_rows_make_their_own_days_stale_and_the_days_whose_window_holds_them():
    notes = [touched(5, 20), touched(4, 12, 14), touched(3, 6)]
    assert planned([20], notes, measured(3)) == ([day(12), day(14), day(20)], [])
    assert planned([20], notes, measured(3), 3) == ([*days(12, 16), day(20)], days(21, 22))
    assert planned([13], notes, measured(3), 3) == (days(12, 13), [*days(14, 16), *days(20, 22)])


def test_days_that_were_left_are_measured_when_their_time_has_come():
    made = plan([day(13)], LOG, [touched(4, 12, 20), touched(3, 6)], measured(3), 3, SETTINGS)
    assert made.left == [day(14), *days(20, 22)]
    notes, gold = [touched(5, 11), touched(4, 12, 20)], [(8, made.note(4, SETTINGS), 1)]
    assert planned([20], notes, gold, 3) == ([*days(11, 14), day(20)], days(21, 22))


@pytest.mark.parametrize(
    ("silver_notes", "gold_notes"),
    [
        ([touched(5, 20)], measured(4)),  # the version that was measured is out of reach
        ([(5, {}, 9), touched(4, 20)], measured(4)),  # a commit that does not say what it touched
        ([touched(5, 20), touched(4, 20)], measured(4, settings="like")),
        ([touched(5, 20), touched(4, 20)], [(7, {"run_id": "r"}, 3)]),
    ],
)
def test_where_the_past_cannot_be_told_every_day_is_stale(silver_notes, gold_notes):
    assert planned([20], silver_notes, gold_notes) == (days(5, 20), [])


def test_a_commit_that_does_not_count_for_the_measuring_is_passed_over():
    gold = [(8, {"run_id": "an optimise"}, 0), *measured(4)]
    assert planned([20], [touched(5, 12), touched(4, 20)], gold) == ([day(12), day(20)], [])


def test_where_a_platforms_log_begins_decides_how_complete_all_later_days_are():
    log = {"feed": Span(day(5), day(20)), "video": Span(day(9), day(20))}
    notes = [touched(5, 9, platform="video"), touched(4, 20)]
    assert planned([20], notes, measured(4), 3, log) == (days(9, 20), days(21, 22))
    assert planned([20], notes, measured(4), 1, log) == ([day(9), day(20)], [])
    # For the feed the ninth is a day like any other.
    assert planned([20], [touched(5, 9), touched(4, 20)], measured(4), 3, log) == ([*days(9, 11), day(20)], [])


def test_days_that_the_log_lost_at_its_beginning_are_measured_again():
    # A corrected delivery took the only rows of the second back; the log begins on the fifth now.
    notes = [touched(5, 2), touched(4, 20)]
    assert planned([20], notes, measured(4)) == ([day(2), day(20)], [])
    assert planned([20], notes, measured(4), 3) == ([*days(2, 20)], days(21, 22))


def test_a_day_beyond_the_log_is_measured_when_it_is_asked_for():
    assert planned([40], [touched(4, 20)], measured(4)) == ([day(40)], [])


def test_days_whose_input_is_deleted_in_part_are_left_even_if_asked_for_and_others_are_measured():
    def whole_from(first, asked, notes, window_days=7):
        days_asked = [day(number) for number in asked]
        return plan(days_asked, LOG, notes, measured(4), window_days, SETTINGS, day(first)).days

    assert whole_from(11, [9, 12], [touched(5, 6, 14), touched(4)]) == [day(11), *days(12, 12)]
    # A commit that deletes days touches none of them.
    assert whole_from(11, [12], [(5, {"event_days": []}, 0), touched(4)]) == [day(12)]
    # Nor does one that names no platform begin a log.
    assert whole_from(5, [20], [(5, {"event_days": ["2026-11-05"]}, 0), touched(4)], 2) == [day(5), day(6), day(20)]
    with pytest.raises(
        InputError, match="2026-11-10 cannot be measured any more: retention has deleted days of its 7-day"
    ):
        whole_from(11, [10], [touched(4)])
