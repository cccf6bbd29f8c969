from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salience.sources.folders import FolderPattern

DAY = date(2026, 11, 2)
GOOD = {
    "dt": ("dt=2026-11-02", None),
    "dt=%Y-%m-%d": ("dt=2026-11-02", None),
    "ds=%Y%m%d": ("ds=20261102", None),
    "%Y.%m.%d": ("2026.11.02", None),
    "%Y/%m/%d": ("2026/11/02", None),
    "year=%Y/month=%m/day=%d": ("year=2026/month=11/day=02", None),
    "year=%Y/month=%m/day=%d/hour=%H": ("year=2026/month=11/day=02", "hour=07"),
    "ds=%Y%m%d/%H": ("ds=20261102", "07"),
}
PATTERNS = list(GOOD)


@pytest.mark.parametrize("text", PATTERNS)
def test_a_day_is_written_as_the_pattern_says_and_hours_lie_in_a_folder_below(text):
    pattern, (folder, hour) = FolderPattern(text), GOOD[text]
    assert (pattern.folder(DAY), str(pattern)) == (folder, text)
    assert [name for name in ("07", "hour=07", "24", "hour=7", "") if pattern.is_hour(name)] == ([hour] if hour else [])


@pytest.mark.parametrize(
    "folder", ["ds=20261131", "ds=2026-11-02", "ds=2026110", "dt=20261102", "ds=20261102/hour=00", "xds=20261102", ""]
)
def test_a_folder_of_another_name_or_of_no_day_of_the_calendar_is_no_delivery(folder):
    assert FolderPattern("ds=%Y%m%d/hour=%H").day_in(folder) is None


@given(st.sampled_from(PATTERNS), st.dates(date(1000, 1, 1)))
def test_the_day_of_a_days_folder_is_that_day_by_name_and_in_a_path(text, day):
    pattern = FolderPattern(text)
    assert pattern.day_in(pattern.folder(day)) == day
    assert date(*(int(pattern.folder(day)[start : start + length]) for start, length in pattern.day_places())) == day


@pytest.mark.parametrize(
    "text",
    [
        *("", "%Y-%m", "%Y-%m-%d-%d", "%d", "dt=%Y-%m-%d/x", "dt=%Y-%m-%d/hour=%H/min=00", "dt=%Y%m%d%H"),
        *("hour=%H/dt=%Y-%m-%d", "%Y/%d/%m", "dt=%d/%Y/%m", "/dt=%Y-%m-%d", "dt=%Y-%m-%d/", "a//%Y%m%d"),
        *(
            "dt=%y-%m-%d",
            "dt=%Y-%m-%d %H",
            "dt=*%Y-%m-%d",
            "../%Y-%m-%d",
            "dt={%Y-%m-%d}",
            "dt=%Y-%m-%d/h=%H%H",
            "_dt=%Y-%m-%d",
            "dt=%Y-%m-%d/.%H",
        ),
    ],
)
def test_a_pattern_that_names_no_day_or_more_than_folders_is_refused(text):
    with pytest.raises(ValueError, match=r"write it like dt=%Y-%m-%d|it must name %Y, %m and %d once each"):
        FolderPattern(text)
