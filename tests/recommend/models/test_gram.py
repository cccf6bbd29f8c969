"""What a dense model may take of the driver's memory, and which cells of a long row count."""

import pytest
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.recommend.models.gram import gram, require_room


@pytest.mark.parametrize(("held", "needed"), [(0, 2400), (800_000_000, 3200)])
def test_a_fit_takes_three_matrices_beside_what_is_held(held, needed):
    require_room(10_000, held, needed, "the limit")
    refused = (
        rf"10,000 items x 10,000 items take {needed:,} MB .*\({held // 10**6} of them for other fits\) and the limit"
    )
    with pytest.raises(InputError, match=refused):
        require_room(10_000, held, needed - 1, "the limit")


def test_nine_thousand_items_fit_into_the_default_beside_the_three_fits_that_a_search_on_two_folds_holds(settings):
    tried = settings.recommend.search
    assert tried.folds == 2
    require_room(9_000, 3 * 8 * 9_000**2, tried.ease_memory_mb, "the limit")


def test_of_a_long_row_the_heaviest_cells_count_and_of_equal_ones_others_for_each_row(spark):
    """Forty rows of ten cells, of which three count: the last column, by its id, would never be among them."""
    cells = [(row, column, 2.0 if column == 9 - row % 2 else 1.0) for row in range(40) for column in range(10)]
    pairs = spark.createDataFrame(cells, "user int, item int, weight double")
    told = {(r["i"], r["j"]): r["value"] for r in gram(pairs, "user", "item", F.col("weight"), 3).collect()}
    counted = [told[column, column] for column in range(10)]
    assert counted[8] >= 4.0 * 20 and counted[9] >= 4.0 * 20
    light = sum(counted) - 40 * 4.0
    assert light == 40 * 2 and min(counted) > 0
