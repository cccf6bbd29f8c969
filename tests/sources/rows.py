"""Mappings and raw rows of interactions for tests."""

from salience.sources.mapping import SourceMapping

DAY = "2026-11-02"
IDS = {"raw_user_id": "uid", "content_id": "post"}
RAW = {"uid": "string", "post": "string", "ts": "string"}
LIKE = {"from": "'like'", "values": {"like": "like"}}


def mapped(platform="feed", columns=None, raw=None, unit=None, **more):
    """Return a mapping of interactions that are likes, unless told otherwise."""
    part = {"raw": RAW | (raw or {}), "columns": IDS | (columns or {}), "action": LIKE}
    part |= {"event_time": {"from": "ts", "unit": "iso8601"} | (unit or {})} | more
    if "emit" in more:
        del part["action"]
    return SourceMapping.model_validate({"platform": platform, "interactions": part})


def event(**columns):
    return {"uid": "ann", "post": "p1", "ts": "2026-11-02T10:00:00Z"} | columns
