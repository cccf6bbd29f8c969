"""What a mapping's Spark SQL may be: scalar functions of the row's own columns, the same in every run.

A mapping is judged before there is any log, so the expression is parsed but not resolved. Whatever is not known to fit
is refused, so what a later Spark adds is unfit until it is listed here.
"""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

_FIT_GROUPS = frozenset(
    {"array", "collection", "map", "struct", "lambda", "string", "url", "json", "csv", "variant", "hash"}
    | {"bitwise", "math", "predicate", "conditional", "conversion", "datetime", "vector", "st"}
)
"""Groups of Spark's functions (its `ExpressionInfo` calls them array_funcs and so on) that fit but for `_UNFIT`.

Left out beside aggregates, generators and windows: avro and protobuf, which load classes and files; sketch, whose
merges are random; and xml, which fails on a document that is none, whatever else the row holds."""

_FIT_MISC = frozenset(
    {"aes_decrypt", "bitmap_bit_position", "bitmap_bucket_number", "bitmap_count", "try_aes_decrypt", "typeof"}
)
"""What fits of the misc group, most of which depends on the run. So does aes_encrypt: it starts at random."""

_UNFIT = frozenset(
    # The time and the zone of the run.
    {"curdate", "current_date", "current_time", "current_timestamp", "current_timezone", "localtimestamp", "now"}
    # Random.
    | {"rand", "randn", "random", "randstr", "shuffle", "uniform"}
    # Aggregates, generators and windows that Spark keeps in other groups.
    | {"json_tuple", "schema_of_variant_agg", "session_window", "vector_avg", "vector_sum", "window", "window_time"}
)

_BARE = frozenset({"current_date", "current_time", "current_timestamp", "current_user", "grouping__id", "session_user"})
"""Functions that Spark also takes without parentheses. `user` is another one, but too likely a log's column."""

_FIT_NODES = frozenset(
    {"Literal", "Alias", "NamePlaceholder", "NamedArgumentExpression", "LambdaFunction", "SemiStructuredExtract"}
    | {"UnresolvedAttribute", "UnresolvedNamedLambdaVariable", "UnresolvedExtractValue", "UnresolvedCollation"}
    | {"UnresolvedFunction", "CaseWhen", "Cast", "Collate", "CreateNamedStruct", "TimestampAdd", "TimestampDiff"}
    | {"Add", "Subtract", "Multiply", "Divide", "IntegralDivide", "Remainder", "UnaryMinus", "UnaryPositive"}
    | {"BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "ShiftLeft", "ShiftRight", "ShiftRightUnsigned"}
    | {"And", "Or", "Not", "In", "IsNull", "IsNotNull", "IsUnknown", "IsNotUnknown", "EqualTo", "EqualNullSafe"}
    | {"LessThan", "LessThanOrEqual", "GreaterThan", "GreaterThanOrEqual"}
    | {"Like", "ILike", "RLike", "LikeAll", "LikeAny", "NotLikeAll", "NotLikeAny", "Lower", "Concat", "Substring"}
    | {"Overlay", "StringLocate", "StringTrim", "StringTrimLeft", "StringTrimRight"}
)
"""Classes that Spark's parser makes of syntax that fits; most other syntax becomes an UnresolvedFunction."""

_RUN_TIME = re.compile(r"\s*(now|today|tomorrow|yesterday)([^a-z]\S*)?\s*", re.IGNORECASE)
"""Texts that Spark casts to the time of the run, with or without a zone behind them."""
_FIXED_TIME = re.compile(r"[a-z_]+\s*r?['\"]\s*[+-]?\d{4}", re.IGNORECASE)
"""Beginning of a typed literal with a year; without one, like TIMESTAMP '10:00', Spark takes the day of the run."""


_INSTANT = re.compile(r"\btimestamp\b")
"""In a type: a time that is adjusted to UTC. Only of texts that become such a one Spark takes the day of the run."""
_READS_TEXT = frozenset({"Cast", "ParseToTimestamp", "JsonToStructs", "CsvToStructs", "VariantGet"})
"""Classes of expressions that may make a time of a text."""


def find_unfit(spark: SparkSession, text: str) -> str | None:
    """Return in a few words why the text is no fit expression of a raw row; None if it is.

    A bare name is taken for a column. The caller must check that the log has all of `columns_used`, because for a name
    that is no column Spark looks further: `user` would become the user who runs the job.
    """
    if "${" in text:
        return f"{text!r} holds ${{, by which Spark inserts settings and environment variables"
    try:
        tree = _parse(spark, text)
    except (PySparkException, Py4JJavaError):  # the latter where the parser itself fails, on a:b[x] for one
        return f"{text!r} is not a Spark SQL expression"
    # v:path is an alias too, but of a kind that Spark itself adds.
    if _class(tree) == "Alias" and _class(tree.child()) != "SemiStructuredExtract":
        return f"{text!r} gives a name with AS {tree.name()}; the mapping's key is the name"
    for node, bound in _nodes(tree):
        problem = _find_unfit_node(spark, text, node, bound)
        if problem:
            return f"{text!r} {problem}"
    return None


def columns_used(spark: SparkSession, text: str) -> frozenset[str]:
    """Return the raw columns that a fit expression reads, spelled as in the text, without the fields inside them."""
    return frozenset(parts[0] for node, bound in _nodes(_parse(spark, text)) if (parts := _column(node, bound)))


def fields_used(frame: DataFrame, text: str) -> frozenset[str]:
    """Return the columns that a fit expression reads and the fields inside them, like ctx and ctx.os."""
    return frozenset(path for node in _resolved(frame, text) if (path := _path(node)))


def guesses_day(frame: DataFrame, text: str) -> bool:
    """Return whether a fit expression reads texts as times without a format: Spark reads 10:00 as of the run's day."""
    return any(_guesses_day(node) for node in _resolved(frame, text))


def _resolved(frame: DataFrame, text: str) -> Iterator[Any]:
    """Yield each node of the expression as Spark resolves it on the frame, with the casts that it adds by itself."""
    analyzed = frame.select(F.expr(text))._jdf.queryExecution().analyzed()
    return (node for node, _ in _nodes(analyzed.expressions().head()))


def _path(node: Any) -> str | None:
    """Return the column, or the field in a column, that a resolved node stands for; None if it stands for none."""
    kind = _class(node)
    if kind == "AttributeReference":
        return str(node.name())
    if kind not in ("GetStructField", "GetArrayStructFields", "GetArrayItem", "GetMapValue", "ElementAt"):
        return None
    child = next(_items(node.children()))
    base = _path(child)
    if base is None or kind not in ("GetStructField", "GetArrayStructFields"):
        return base  # of one element the path is that of all
    name = node.field().name() if kind == "GetArrayStructFields" else child.dataType().fields()[node.ordinal()].name()
    return f"{base}.{name}"


def _guesses_day(node: Any) -> bool:
    kind = _class(node)
    if kind not in _READS_TEXT or not _INSTANT.search(node.dataType().simpleString()):
        return False
    if kind not in ("Cast", "ParseToTimestamp"):
        return True
    child, *format_ = _items(node.children())
    if format_ or not re.search("string|variant", child.dataType().simpleString()):
        return False
    if _class(child) == "FromUnixTime":
        return not next(islice(_items(child.children()), 1, None)).toString().startswith("yyyy-MM-dd")
    return not (_class(child) == "Literal" and re.match(r"\s*\d{4}", child.toString()))


def _find_unfit_node(spark: SparkSession, text: str, node: Any, bound: frozenset[str]) -> str | None:
    kind = _class(node)
    if kind not in _FIT_NODES:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.removeprefix("Unresolved")).lower()
        return f"holds what no mapping may: {words}"
    if kind == "UnresolvedFunction":
        return _find_unfit_function(spark, node)
    if kind == "Literal":
        return _find_unfit_literal(text, node)
    column = _column(node, bound)
    if len(column) == 1 and column[0].lower() in _BARE:
        return f"uses {column[0]}, which is no column for Spark but depends on the run"
    return None


def _find_unfit_function(spark: SparkSession, node: Any) -> str | None:
    parts = _strings(node.nameParts())
    # A qualified name may mean a session's or a catalog's function; a plain one means Spark's own before all others.
    name = ".".join(parts).lower()
    catalyst = spark._jvm.org.apache.spark.sql.catalyst  # type: ignore[union-attr]
    found = catalyst.analysis.FunctionRegistry.builtin().lookupFunction(catalyst.FunctionIdentifier.apply(name))
    group = found.get().getGroup().removesuffix("_funcs") if len(parts) == 1 and found.isDefined() else None
    if name not in _FIT_MISC and (group not in _FIT_GROUPS or name in _UNFIT):
        return f"uses {name}, which is no scalar function of the row's columns"
    if name == "unix_timestamp" and node.arguments().isEmpty():
        return "uses unix_timestamp without an argument, which is the time of the run"
    if node.isDistinct() or node.filter().isDefined() or node.ignoreNulls().isDefined():
        return f"uses {name} with DISTINCT, FILTER or NULLS, which are for aggregates"
    if node.orderingWithinGroup().nonEmpty():
        return f"uses {name} with WITHIN GROUP, which is for aggregates"
    return None


def _find_unfit_literal(text: str, node: Any) -> str | None:
    type_ = node.dataType().typeName()
    if type_.startswith("string") and _RUN_TIME.fullmatch(node.toString()):
        return f"holds {node.toString()!r}, which Spark may read as the time of the run"
    if type_ == "date" or type_.startswith("timestamp"):
        # The parser has computed its value already, so only the text tells.
        start, stop = node.origin().startIndex().get(), node.origin().stopIndex().get()
        written = " ".join(text[start : stop + 1].split())
        if not _FIXED_TIME.match(written):
            return f"holds {written}, which does not begin with a year"
    return None


def _parse(spark: SparkSession, text: str) -> Any:
    return spark._jsparkSession.sessionState().sqlParser().parseExpression(text)


def _nodes(tree: Any) -> Iterator[tuple[Any, frozenset[str]]]:
    """Yield each node of the tree, the top first, with the lambda variables that it sees, in lower case."""
    waiting: list[tuple[Any, frozenset[str]]] = [(tree, frozenset())]
    while waiting:
        node, bound = waiting.pop()
        if _class(node) == "LambdaFunction" and not node.resolved():  # then its variables are of a class of their own
            bound |= {_strings(variable.nameParts())[0].lower() for variable in _items(node.arguments())}
        yield node, bound
        waiting += [(child, bound) for child in _items(node.children())]


def _column(node: Any, bound: frozenset[str]) -> tuple[str, ...]:
    """Return the parts of the column's name that the node stands for; none if it stands for none."""
    kind = _class(node)
    # Within a lambda the parser takes every name for a variable, so only those that the lambda declares are.
    if kind not in ("UnresolvedAttribute", "UnresolvedNamedLambdaVariable"):
        return ()
    parts = _strings(node.nameParts())
    return () if kind == "UnresolvedNamedLambdaVariable" and parts[0].lower() in bound else parts


def _class(node: Any) -> str:
    # IS UNKNOWN is a nameless class within IsUnknown, so its simple name is empty.
    return str(node.getClass().getName()).rpartition(".")[2].partition("$")[0]


def _strings(names: Any) -> tuple[str, ...]:
    return tuple(str(name) for name in _items(names))


def _items(values: Any) -> Iterator[Any]:
    """Yield what a Scala collection holds."""
    iterator = values.iterator()
    while iterator.hasNext():
        yield iterator.next()
