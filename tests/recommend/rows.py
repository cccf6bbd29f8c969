"""Short ways to write interactions, contents and users."""

from datetime import UTC, date, datetime, timedelta

from salience.tables import silver

CUT = datetime(2026, 11, 11, tzinfo=UTC)
AS_OF = date(2026, 11, 10)
INTERACTION = (
    "platform string, user_id string, content_id string, action string, event_time timestamp, rating double, "
    "dwell_s double, video_length_s double, creator_id string"
)


def days_before(days, cut=CUT):
    return cut - timedelta(days=days)


def interactions(spark, *rows):
    """Rows are (user, content, action, days before the cut) and, if need be, rating, dwell, video length, creator."""
    filled = [
        ("feed", user, content, action, days_before(age), *(*more, None, None, None, None)[:4])
        for user, content, action, age, *more in rows
    ]
    return spark.createDataFrame(filled, INTERACTION)


def contents(spark, *rows):
    """Rows are (content_id, published_at, available_until) and, if need be, valid_from."""
    filled = []
    for content, published_at, available_until, *valid_from in rows:
        known = {
            "platform": "feed",
            "content_id": content,
            "published_at": published_at,
            "available_until": available_until,
            "valid_from": valid_from[0] if valid_from else days_before(100),
        }
        filled.append(tuple(known.get(column.name) for column in silver.CONTENTS.columns))
    return spark.createDataFrame(filled, silver.CONTENTS.schema)


def users(spark, *rows):
    """Rows are (user_id, consent_personalised, valid_from)."""
    filled = []
    for user, consent, valid_from in rows:
        known = {"platform": "feed", "user_id": user, "consent_personalised": consent, "valid_from": valid_from}
        filled.append(tuple(known.get(column.name) for column in silver.USERS.columns))
    return spark.createDataFrame(filled, silver.USERS.schema)
