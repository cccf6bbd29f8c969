"""A mapping's expressions, so evaluated that no error shows the value that one fails on.

Spark's own error does ("The value 'Ann' cannot be cast to INT"), and it stands in event logs and in the history server.
"""

import re
from typing import Any

from pyspark import SparkContext
from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.classic.column import Column as ClassicColumn

RAISED = "USER_RAISED_EXCEPTION"
"""Spark's class of the error that stands for the expression's own; what it says is the expression."""
_NEVER_FAILS = re.compile(r"[\w.]+|`[^`]*`")
"""A bare column, or a field in one."""


def guarded(text: str) -> Column:
    """Return the value of an expression; where it fails, the error tells the expression instead of the value."""
    if _NEVER_FAILS.fullmatch(text):
        return F.expr(text)
    return F.coalesce(_tried(F.struct(F.expr(text).alias("value"))), F.raise_error(F.lit(text)))["value"]


def _tried(value: Column) -> Column:
    """Return the value, or null where an error occurs on the way to it: what Spark's try_ functions are made of."""
    jvm: Any = SparkContext._jvm
    utils: Any = jvm.org.apache.spark.sql.classic.ExpressionUtils
    tried = jvm.org.apache.spark.sql.catalyst.expressions.TryEval(utils.expression(value._jc))
    return ClassicColumn(utils.column(tried))
