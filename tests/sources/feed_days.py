"""Three days of a feed, for tests of deliveries."""

from datetime import date, timedelta
from pathlib import Path

from salience.sources.mapping import SourceMapping

FIRST = date(2026, 11, 2)
DAYS = [FIRST + timedelta(days=n) for n in range(3)]


def mapped(platform="feed", **more):
    """Return a mapping of the feed's interactions."""
    part = {
        "raw": {
            "log_id": "string",
            "uid": "string",
            "post_id": "string",
            "act": "string",
            "ts": "string",
            "slot": "int",
        },
        "columns": {"event_id": "log_id", "raw_user_id": "uid", "content_id": "post_id", "position": "slot"},
        "action": {"from": "act", "values": {"like": "like"}},
        "event_time": {"from": "ts", "unit": "iso8601"},
    }
    return SourceMapping.model_validate({"platform": platform, "interactions": part, **more})


FEED = mapped()


def middle(logs: Path) -> Path:
    return logs / "feed" / "interactions" / f"dt={DAYS[1]}"
