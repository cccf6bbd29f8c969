"""Print the answer of a SQL query: current.<table> holds what is in force, <layer>.<table> all that is stored."""

from argparse import ArgumentParser
from typing import Any

from pyspark.errors import ParseException, PySparkException
from pyspark.sql import SparkSession

from salience.errors import InputError
from salience.job import Job, run_job
from salience.tables.views import register


def main(job: Job) -> None:
    query = job.arguments.query
    try:
        if not only_asks(job.spark, query):
            raise InputError("only SELECT, WITH, VALUES, TABLE, SHOW, DESCRIBE and EXPLAIN are answered")
        register(job.warehouse)
        job.spark.sql(query).show(job.arguments.rows, truncate=False)
    except PySparkException as error:
        told = str(error).strip().splitlines()[0]
        raise InputError(f"the query cannot be answered: {told}") from None


def only_asks(spark: SparkSession, text: str) -> bool:
    """Return whether Spark reads a text as a statement that changes nothing."""
    parser = spark._jsparkSession.sessionState().sqlParser()
    plan, is_explained = parser.parsePlan(text), False
    while kind(plan) == "ExplainCommand":
        plan, is_explained = plan.logicalPlan(), True
    if is_explained:
        # Spark runs this one even where it is asked only to explain it.
        return kind(plan) != "UnresolvedExecuteImmediate"
    if kind(plan).startswith(("Describe", "Show")):
        return True
    try:
        # It knows queries only, and no semicolon behind them.
        parser.parseQuery(text.rstrip("; \n"))
    except ParseException:
        return False
    return True


def kind(plan: Any) -> str:
    return str(plan.getClass().getSimpleName())


def extra(parser: ArgumentParser) -> None:
    parser.add_argument("query", help='like "SELECT * FROM current.recommendations"')
    parser.add_argument("--rows", type=int, default=20, help="print at most this many rows")


if __name__ == "__main__":
    raise SystemExit(run_job(main, interval=False, records=False, extra=extra))
