import pytest
from pyspark.sql import types as T

from salience.errors import SettingsError
from salience.sources.fit import added_columns, misfit, require_fitting, required_columns
from salience.sources.mapping import SourceMapping

INTERACTIONS = {
    "raw": {
        **{"id": "bigint", "uid": "string", "post": "string", "act": "string", "ts": "string", "slot": "int"},
        **{"tags": "array<string>", "Ctx": "struct<os: string, app: struct<name: string>>"},
    },
    "columns": {"event_id": "id", "raw_user_id": "uid", "content_id": "post"},
    "action": {"from": "act", "values": {"like": "like"}},
    "event_time": {"from": "ts", "unit": "iso8601"},
}


def mapped(columns=None, **more):
    part = INTERACTIONS | more
    part["columns"] = part["columns"] | (columns or {})
    if more.get("emit"):
        del part["action"]
    return SourceMapping.model_validate({"platform": "feed", "interactions": part})


def emit(**more):
    return {"seen": {"action": "impression", **more}}


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        (mapped(raw=INTERACTIONS["raw"] | {"slot": "integr"}), "raw.slot: 'integr' is no Spark SQL type"),
        (mapped(raw=INTERACTIONS["raw"] | {"slot": "struct<a int"}), "raw.slot: 'struct<a int' is no Spark SQL type"),
        (mapped({"position": "slot +"}), "columns.position: 'slot +' is not a Spark SQL expression"),
        (mapped({"position": "place"}), "columns.position: 'place' uses the column place, which is not in `raw`: id, "),
        (mapped({"position": "slot.x"}), "columns.position: 'slot.x': [INVALID_EXTRACT_BASE_FIELD_TYPE]"),
        (mapped({"device": "ctx.brand"}), "columns.device: 'ctx.brand': [FIELD_NOT_FOUND]"),
        (mapped({"position": "max(slot)"}), "columns.position: 'max(slot)' uses max, which is no scalar function"),
        (mapped({"position": "tags"}), "columns.position: 'tags': [DATATYPE_MISMATCH.CAST_WITHOUT_SUGGESTION]"),
        (mapped({"dwell_s": "now()"}), "columns.dwell_s: 'now()' uses now, which is no scalar function"),
        (
            mapped(action={"from": "kind", "values": {"a": "like"}}),
            "action.from: 'kind' uses the column kind, which is not",
        ),
        (mapped(event_time={"from": "ctx", "unit": "iso8601"}), "event_time.from: 'ctx': [DATATYPE_MISMATCH"),
        (mapped(event_time={"from": "tags", "unit": "seconds"}), "event_time.from: 'tags': [DATATYPE_MISMATCH"),
        (mapped(emit=emit(when="tags")), "emit.seen.when: 'tags': [DATATYPE_MISMATCH"),
        (
            mapped(emit=emit(when="slot")),
            "emit.seen.when: 'slot' is no condition but a int; conditions are like slot = 1",
        ),
        (mapped(emit=emit(when="act")), "emit.seen.when: 'act' is no condition but a string"),
        *(
            (
                mapped(event_time={"from": "ts", "unit": "text", "format": format_}),
                f"event_time.format: {format_!r} does not",
            )
            for format_ in (
                "YYYY-MM-dd",
                "%Y-%m-%d",
                "yyyy-mm-dd",
                "HH:mm:ss",
                "yyyy-MM-dd hh:mm",
                "yyyy'",
                "EEE MMM dd HH:mm:ss Z yyyy",
            )
        ),
        *(
            (
                mapped(event_time={"from": text, "unit": "iso8601"}),
                f"event_time.from: {text!r} reads text as a time by itself",
            )
            for text in ("cast(act as timestamp)", "to_timestamp(act, 'yyyyMMdd')")
        ),
        (mapped(emit=emit(when="shown = 1")), "emit.seen.when: 'shown = 1' uses the column shown, which is not in"),
        (mapped(emit=emit(columns={"position": "ctx"})), "emit.seen.columns.position: 'ctx': [DATATYPE_MISMATCH"),
        (mapped(defaults={"position": "first"}), "defaults.position: 'first' is no int"),
        (mapped(defaults={"paid": "perhaps"}), "defaults.paid: 'perhaps' is no boolean"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_told_with_file_and_key_before_any_row_is_read(spark, mapping, told):
    with pytest.raises(SettingsError) as caught:
        require_fitting(spark, mapping)
    message = str(caught.value)
    assert message.startswith(f"conf/sources/feed.yaml interactions.{told}")
    assert len(message.splitlines()) == 1


def test_expressions_types_and_defaults_that_fit_pass(spark):
    columns = {"position": "SLOT + 1", "device": "ctx.app.NAME", "paid": "NULL", "value": "'1.50'"}
    require_fitting(spark, mapped(columns, defaults={"position": "3", "paid": False, "value": 0}))
    for format_ in (
        "yyyyMMdd",
        "dd/MMM/yyyy:HH:mm:ss Z",
        "hh:mm a dd.MM.yy",
        "yyyy-MM-dd'T'HH:mm:ss.SSSX",
        "yyyy-MM-dd HH:mm VV",
    ):
        require_fitting(spark, mapped(event_time={"from": "act", "unit": "text", "format": format_}))
    require_fitting(spark, mapped(emit=emit(when="exists(tags, tag -> tag = act)", columns={"position": "slot"})))


def test_required_are_the_columns_named_and_those_of_ids_action_time_and_conditions(spark):
    part = mapped({"device": "ctx.os"}, required=["slot"]).interactions
    assert required_columns(spark, "interactions", part) == {"id", "uid", "post", "act", "ts", "slot"}
    several = mapped({"raw_user_id": "coalesce(UID, ctx.os)"}, emit=emit(when="size(tags) > 0")).interactions
    assert required_columns(spark, "interactions", several) == {"id", "uid", "Ctx", "post", "ts", "tags"}
    other = mapped(emit=emit(columns={"content_id": "act", "device": "tags[0]"})).interactions
    assert required_columns(spark, "interactions", other) == {"id", "uid", "post", "ts", "act"}


DECLARED = (
    "id bigint, act string, amount decimal(12,2), ctx struct<os: string, app: struct<name: string>>, tags array<int>"
)


def of(ddl: str) -> T.StructType:
    found = T.DataType.fromDDL(ddl)
    assert isinstance(found, T.StructType)
    return found


@pytest.mark.parametrize(
    ("found", "problem", "added"),
    [
        (DECLARED, None, ()),
        ("tags array<int>, ACT string, Amount decimal(12,2), ID bigint", None, ()),
        ("id bigint, act string", None, ()),
        ("id bigint, act string, extra int, CTX struct<os: string>", None, ("extra",)),
        ("id bigint", "column act is not in it, which has id", ()),
        ("act string, x int", "column id is not in it, which has act, x", ("x",)),
        ("id int, act string", "column id is int instead of bigint", ()),
        ("id bigint, act string, amount decimal(14,2)", "column amount is decimal(14,2) instead of decimal(12,2)", ()),
        ("id bigint, act string, tags array<bigint>", "column tags is array<bigint> instead of array<int>", ()),
        (
            "id string, act int, extra int",
            "column id is string instead of bigint; column act is int instead of string",
            ("extra",),
        ),
        (
            "id bigint, act string, ctx struct<os: int, app: struct<name: string>>",
            "column ctx is struct<os:int,app:struct<name:string>> instead of struct<os:string,app:struct<name:string>>",
            (),
        ),
        # Fields may be left out of a struct or added to it, as columns may.
        ("id bigint, act string, ctx struct<os: string>", None, ()),
        ("id bigint, act string, ctx struct<OS: string, v: int, app: struct<name: string, w: int>>", None, None),
        (
            "id bigint, act string, ctx string",
            "column ctx is string instead of struct<os:string,app:struct<name:string>>",
            (),
        ),
        (
            "id bigint, act string, ctx struct<v: int>",
            "column ctx is struct<v:int> instead of struct<os:string,app:struct<name:string>>",
            ("ctx.v",),
        ),
    ],
)
def test_a_file_fits_if_it_has_what_is_required_with_the_declared_types_and_what_it_adds_is_named(
    found, problem, added
):
    assert misfit(of(DECLARED), of(found), frozenset({"id", "act"})) == problem
    assert added_columns(of(DECLARED), of(found)) == (("ctx.v", "ctx.app.w") if added is None else added)


def test_fields_within_lists_and_maps_may_be_more_or_fewer_too():
    declared = of("items array<struct<id: int, n: int>>, by map<string, struct<a: int>>")
    assert (
        misfit(
            declared, of("items array<struct<id: int, x: int>>, by map<string, struct<a: int, b: int>>"), frozenset()
        )
        is None
    )
    told = misfit(declared, of("items array<struct<id: string>>, by map<int, struct<a: int>>"), frozenset())
    assert told == (
        "column items is array<struct<id:string>> instead of array<struct<id:int,n:int>>; "
        "column by is map<int,struct<a:int>> instead of map<string,struct<a:int>>"
    )
