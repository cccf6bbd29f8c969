"""Print the answer of a SQL query: current.<table> holds what is in force, <layer>.<table> all that is stored."""

from argparse import ArgumentParser

from pyspark.errors import PySparkException

from salience.errors import InputError
from salience.job import Job, run_job
from salience.tables.views import register


def main(job: Job) -> None:
    register(job.warehouse)
    try:
        job.spark.sql(job.arguments.query).show(job.arguments.rows, truncate=False)
    except PySparkException as error:
        told = str(error).strip().splitlines()[0]
        raise InputError(f"the query cannot be answered: {told}") from None


def extra(parser: ArgumentParser) -> None:
    parser.add_argument("query", help='like "SELECT * FROM current.recommendations"')
    parser.add_argument("--rows", type=int, default=20, help="print at most this many rows")


if __name__ == "__main__":
    raise SystemExit(run_job(main, interval=False, records=False, extra=extra))
