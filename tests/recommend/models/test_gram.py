"""What a dense model may take of the driver's memory."""

import pytest

from salience.errors import InputError
from salience.recommend.comparison import fits_held
from salience.recommend.models.gram import require_room


@pytest.mark.parametrize(("held", "needed"), [(1, 2400), (4, 4800), (7, 7200)])
def test_a_fit_takes_three_matrices_and_each_other_one_that_is_held_another(held, needed):
    require_room(10_000, held, needed, "the limit")
    refused = rf"10,000 items x 10,000 items take {needed:,} MB .*\({held} held at a time\) and the limit allows"
    with pytest.raises(InputError, match=refused):
        require_room(10_000, held, needed - 1, "the limit")


@pytest.mark.parametrize(("folds", "splits", "held"), [(2, 2, 4), (2, 6, 7), (1, 1, 2), (5, 6, 10)])
def test_fits_are_held_of_two_points_while_one_is_tried_and_of_every_split_in_the_end(folds, splits, held):
    assert fits_held(folds, splits) == held


def test_a_catalogue_of_nine_thousand_fits_into_the_default_where_splits_are_by_time(settings):
    tried = settings.recommend.search
    require_room(9_000, fits_held(tried.folds, tried.folds), tried.ease_memory_mb, "the limit")
