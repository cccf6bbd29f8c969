"""Which exposures teach the model and which ones judge it: split by time, with an embargo between them."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from pyspark.sql import Column
from pyspark.sql import functions as F

from salience.errors import SettingsError
from salience.settings import EngagementSettings


@dataclass(frozen=True)
class Windows:
    """Half-open windows of exposure times, UTC: train is [first, train_end), test is [test_start, test_end).

    The embargo between them is as long as a label window, so that no label of the training part was still open when
    the test began; test_end lies a label window before the end of the as-of day.
    """

    first: datetime
    train_end: datetime
    test_start: datetime
    test_end: datetime

    @property
    def protocol(self) -> str:
        """The windows in words, for the evaluation table."""
        return (
            f"time split: train [{_iso(self.first)}, {_iso(self.train_end)}), embargo to {_iso(self.test_start)}, "
            f"test [{_iso(self.test_start)}, {_iso(self.test_end)}); the published model is refitted on all of them"
        )

    @property
    def in_train(self) -> Column:
        """Whether an exposure is one to train on."""
        return _between(self.first, self.train_end)

    @property
    def in_test(self) -> Column:
        """Whether an exposure is one to test on."""
        return _between(self.test_start, self.test_end)


def windows(as_of: date, settings: EngagementSettings) -> Windows:
    """Return the windows for a last known day.

    Raises:
        SettingsError: the settings leave no time to train on.
    """
    cut = datetime.combine(as_of + timedelta(days=1), time(), UTC)
    label_window = timedelta(hours=settings.label_hours)
    test_end = cut - label_window
    test_start = test_end - timedelta(days=settings.test_days)
    result = Windows(cut - timedelta(days=settings.window_days), test_start - label_window, test_start, test_end)
    if result.train_end <= result.first:
        raise SettingsError(
            f"engagement.window_days ({settings.window_days}) leaves nothing to train on before {settings.test_days} "
            f"test days and two label windows of {settings.label_hours} hours: make it larger"
        )
    return result


def _between(start: datetime, end: datetime) -> Column:
    return (F.col("event_time") >= _timestamp(start)) & (F.col("event_time") < _timestamp(end))


def _timestamp(instant: datetime) -> Column:
    return F.lit(instant.isoformat()).cast("timestamp")


def _iso(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%MZ")
