"""One simulated platform: its size, its days and its draws."""

from dataclasses import dataclass
from datetime import date, timedelta

from pyspark.sql import Column
from pyspark.sql import functions as F

from salience.settings import SimulationSettings
from salience.simulate import draws

PLATFORMS = ("feed", "video")
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
MINUTE_MS = 60_000

TOPICS = (
    *("travel", "food", "music", "fitness", "fashion", "gaming", "science", "finance"),
    *("film", "football", "gardening", "pets", "cars", "books", "beauty", "photography"),
    *("history", "parenting", "running", "crafts", "cycling", "comedy", "technology", "nature"),
)
"""As many as settings.simulate.topics may ask for."""

TOPIC_EXPONENT = 0.6
"""Skew of the topics: lower numbers are more popular."""

ROWS_PER_EXPOSURE = {"feed": 1.13, "video": 1.77}
"""Rows that one exposure leaves in a log on average, itself and the duplicates included."""


@dataclass(frozen=True)
class World:
    """What every draw on one platform has in common."""

    platform: str
    first_day: date
    settings: SimulationSettings

    @classmethod
    def ending_on(cls, platform: str, as_of: date, settings: SimulationSettings) -> "World":
        """Return the world whose last day is `as_of`."""
        return cls(platform, as_of - timedelta(days=settings.days - 1), settings)

    @property
    def last_day(self) -> date:
        """The last simulated day."""
        return self.first_day + timedelta(days=self.settings.days - 1)

    @property
    def start_ms(self) -> int:
        """Start of the first day, milliseconds since 1970, UTC."""
        return (self.first_day - date(1970, 1, 1)).days * DAY_MS

    @property
    def end_ms(self) -> int:
        """End of the last day (exclusive), milliseconds since 1970, UTC."""
        return self.start_ms + self.settings.days * DAY_MS

    @property
    def exposures_per_user(self) -> float:
        """Mean number of exposures that gives the wanted number of rows."""
        rows = self.settings.events / len(PLATFORMS)
        return rows / ROWS_PER_EXPOSURE[self.platform] / self.settings.users

    def uniform(self, name: str, *ids: str) -> Column:
        """Return this platform's uniform draw of that name; see `draws.uniform`."""
        return draws.uniform(self.settings.seed, f"{self.platform}/{name}", *ids)

    def normal(self, name: str, *ids: str) -> Column:
        """Return this platform's standard normal draw of that name; see `draws.normal`."""
        return draws.normal(self.settings.seed, f"{self.platform}/{name}", *ids)

    def day_of(self, time_ms: Column) -> Column:
        """Return the UTC day, as a date, of milliseconds since 1970."""
        return F.date_add(F.lit(date(1970, 1, 1)), F.floor(time_ms / F.lit(DAY_MS)).cast("int"))
