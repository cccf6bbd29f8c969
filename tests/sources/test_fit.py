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
        *(
            (
                mapped({"position": text}, raw=INTERACTIONS["raw"] | {"at": "timestamp", "v": "variant"}),
                f"columns.position: {text!r} reads text as a time by itself, and 10:00 as of the day of the run; give ",
            )
            for text in (
                "unix_timestamp(to_timestamp(ts))",
                "unix_timestamp(CAST(TS AS timestamp))",
                "hour(try_to_timestamp(ts))",
                "hour(ts)",
                "hour(to_utc_timestamp(ts, 'Asia/Shanghai'))",
                "hour(coalesce(at, ts))",
                "CASE WHEN at > ts THEN 1 END",
                "hour(from_json(act, 'at timestamp').at)",
                "hour(from_csv(act, 'at timestamp').at)",
                "hour(v:at::timestamp)",
                "hour(try_variant_get(v, '$.at', 'timestamp'))",
                "size(transform(tags, tag -> tag::timestamp))",
                "hour(CAST('10:00' AS timestamp))",
            )
        ),
        (
            mapped(event_time={"from": "unix_timestamp(to_timestamp(act))", "unit": "seconds"}),
            "event_time.from: 'unix_timestamp(to_timestamp(act))' reads text as a time by itself",
        ),
        (
            mapped({"position": "hour(from_unixtime(slot, 'HH:mm'))"}),
            "columns.position: \"hour(from_unixtime(slot, 'HH",
        ),
        (mapped({"device": "ctx:os"}), "columns.device: 'ctx:os': Spark cannot resolve it on these columns"),
        *(
            (
                mapped(event_time={"from": "at", "unit": unit}, raw=INTERACTIONS["raw"] | {"at": "timestamp"}),
                f"event_time.unit: 'at' is a timestamp, no number of {unit}; its unit is iso8601",
            )
            for unit in ("milliseconds", "microseconds", "nanoseconds")
        ),
        *(
            (mapped(defaults={"device": default}), f"defaults.device: {default!r}: YAML takes it for no word; put ")
            for default in (False, 7, 1.5)
        ),
        *(
            (mapped(raw=INTERACTIONS["raw"] | {"slot": type_}), f"raw.slot: no log is read as {type_!r}")
            for type_ in ("varchar(5)", "char(5)", "array<struct<a: void>>", "map<string,geometry(4326)>")
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


def test_times_that_are_read_with_a_format_or_are_none_pass(spark):
    for text in (
        "hour(try_to_timestamp(ts, 'yyyy-MM-dd HH:mm'))",
        "hour(to_utc_timestamp(try_to_timestamp(ts, 'dd.MM.yyyy'), 'Asia/Shanghai'))",
        "hour(at)",
        "hour(to_timestamp(at))",
        "hour(from_unixtime(slot))",
        "date_format(from_unixtime(slot), 'yyyy')",
        "unix_timestamp(ts, 'yyyyMMdd')",
        "CASE WHEN at > '2026-01-01' THEN 1 END",
        "CASE WHEN at > TIMESTAMP '2026-01-01 10:00:00' THEN 1 END",
        "datediff(to_date(ts), DATE '2026-01-01')",  # 10:00 is no day
        "length(string(at))",
        "size(transform(tags, tag -> concat(tag, string(at))))",
    ):
        require_fitting(spark, mapped({"position": text}, raw=INTERACTIONS["raw"] | {"at": "timestamp"}))


def test_a_default_may_not_be_the_time_of_the_run(spark):
    contents = {"raw": {"post": "string", "at": "string"}, "columns": {"content_id": "post", "published_at": "at"}}
    for text, fits in {"2020-01-01T00:00:00Z": True, "now": False, "10:00": False, "soon": False}.items():
        part = contents | {"defaults": {"published_at": text}}
        mapping = SourceMapping.model_validate({"platform": "feed", "interactions": INTERACTIONS, "contents": part})
        if fits:
            require_fitting(spark, mapping)
            continue
        with pytest.raises(SettingsError, match=f"contents.defaults.published_at: '{text}' is no timestamp"):
            require_fitting(spark, mapping)


def test_required_are_the_columns_named_and_those_of_ids_action_time_and_conditions(spark):
    part = mapped({"device": "ctx.os"}, required=["slot"]).interactions
    assert required_columns(spark, "interactions", part) == {"id", "uid", "post", "act", "ts", "slot"}
    several = mapped({"raw_user_id": "coalesce(UID, ctx.os)"}, emit=emit(when="size(tags) > 0")).interactions
    assert required_columns(spark, "interactions", several) == {"id", "uid", "Ctx", "Ctx.os", "post", "ts", "tags"}
    other = mapped(emit=emit(columns={"content_id": "act", "device": "tags[0]"})).interactions
    assert required_columns(spark, "interactions", other) == {"id", "uid", "post", "ts", "act"}


def test_required_are_the_fields_too_that_needed_columns_are_made_of(spark):
    raw = INTERACTIONS["raw"] | {
        "parts": "array<struct<k: string, v: string>>",
        "by": "map<string, struct<id: string, n: int>>",
        "body": "struct<a: struct<b: string, c: int>, d: int>",
    }
    for text, fields in {
        "CTX.App.NAME": {"Ctx", "Ctx.app", "Ctx.app.name"},
        "ctx['os']": {"Ctx", "Ctx.os"},
        "parts[0].v": {"parts", "parts.v"},
        "get(parts, 1).k": {"parts"},
        "array_join(parts.k, '-')": {"parts", "parts.k"},
        "by['x'].id": {"by", "by.id"},
        "element_at(by, 'x').id": {"by", "by.id"},
        "coalesce(body.a.b, post)": {"body", "body.a", "body.a.b", "post"},
        "to_json(body)": {"body"},
        "filter(parts, p -> p.k = 'id')[0].v": {"parts"},
    }.items():
        part = mapped({"content_id": text}, raw=raw).interactions
        assert required_columns(spark, "interactions", part) == {"id", "uid", "act", "ts", *fields}, text


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


def test_a_field_that_is_required_may_be_missing_no_more_than_a_column():
    required = frozenset({"id", "ctx", "ctx.app", "ctx.app.name"})
    good = "id bigint, act string, CTX struct<App: struct<NAME: string>>"
    assert misfit(of(DECLARED), of(good), required) is None
    assert misfit(of(DECLARED), of("id bigint, ctx struct<os: string>"), required) == (
        "column ctx.app is not in it, whose ctx is struct<os:string>"
    )
    other = "id bigint, ctx struct<os: string, app: struct<name: string, v: int>>"
    assert misfit(of(DECLARED), of(other.replace("name", "title")), frozenset({"ctx.os"})) is not None
    nested = of("items array<struct<id: int, n: int>>, by map<string, struct<a: int, b: int>>")
    found = of("items array<struct<n: int>>, by map<string, struct<b: int>>")
    assert misfit(nested, found, frozenset({"items.id", "by.a"})) == (
        "column items.id is not in it, whose items is array<struct<n:int>>; "
        "column by.a is not in it, whose by is map<string,struct<b:int>>"
    )


def test_fields_that_a_file_adds_within_lists_and_maps_are_named_and_new_columns_once():
    declared = of("items array<struct<id: int>>, by map<string, array<struct<a: int>>>")
    found = of(
        "items array<struct<ID: int, x: struct<y: int>>>, by map<string, array<struct<a: int, b: int>>>, "
        "more struct<p: struct<q: int>>"
    )
    assert added_columns(declared, found) == ("items.x", "by.b", "more")


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
