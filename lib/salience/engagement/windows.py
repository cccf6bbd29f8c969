"""Which rows teach a model, which choose and calibrate it, and which judge it: split by time, with embargoes."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from pyspark.sql import Column
from pyspark.sql import functions as F

from salience.errors import InputError
from salience.settings import EngagementSettings


@dataclass(frozen=True)
class Windows:
    """Half-open windows of event times, UTC: train, validation, test, in this order.

    Between two of them lies an embargo as long as a label's window, so that no label of the earlier one was open when
    the later one began; the test ends a label's window before the end of the as-of day.
    """

    first: datetime
    train_end: datetime
    validation_start: datetime
    validation_end: datetime
    test_start: datetime
    test_end: datetime

    @property
    def protocol(self) -> str:
        """The windows in words, for the evaluation table."""
        parts = [_iso(instant) for instant in vars(self).values()]
        return (
            "time split: train [{}, {}), embargo, chosen and calibrated on [{}, {}), embargo, test [{}, {}); the "
            "published model is fitted on all before the test, and calibrated on the test".format(*parts)
        )

    @property
    def in_train(self) -> Column:
        """Whether a row is one to train on."""
        return _between(self.first, self.train_end)

    @property
    def in_validation(self) -> Column:
        """Whether a row is one to choose and calibrate by."""
        return _between(self.validation_start, self.validation_end)

    @property
    def in_test(self) -> Column:
        """Whether a row is one to test on."""
        return _between(self.test_start, self.test_end)

    @property
    def in_refit(self) -> Column:
        """Whether a row is one to train the published model on: all that its calibration by the test window allows."""
        return _between(self.first, self.validation_end)


def windows(as_of: date, label_window: timedelta, settings: EngagementSettings) -> Windows:
    """Return the windows for a last known day.

    Args:
        as_of: the last known UTC day.
        label_window: how long it takes until a row's label is known.
        settings: window_days, validation_days and test_days.

    Raises:
        InputError: the settings leave no time to train on.
    """
    cut = datetime.combine(as_of + timedelta(days=1), time(), UTC)
    test_end = cut - label_window
    test_start = test_end - timedelta(days=settings.test_days)
    validation_end = test_start - label_window
    validation_start = validation_end - timedelta(days=settings.validation_days)
    first, train_end = cut - timedelta(days=settings.window_days), validation_start - label_window
    if train_end <= first:
        raise InputError(
            f"engagement.window_days ({settings.window_days}) leaves nothing to train on before "
            f"{settings.validation_days:g} validation days, {settings.test_days:g} test days and three label windows "
            f"of {label_window / timedelta(hours=1):g} hours: make it larger"
        )
    return Windows(first, train_end, validation_start, validation_end, test_start, test_end)


def _between(start: datetime, end: datetime) -> Column:
    return (F.col("event_time") >= _timestamp(start)) & (F.col("event_time") < _timestamp(end))


def _timestamp(instant: datetime) -> Column:
    return F.lit(instant.isoformat()).cast("timestamp")


def _iso(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%MZ")
