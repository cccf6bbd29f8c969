"""What bronze keeps of deliveries: typed rows, each with the row rules that it breaks."""

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from salience.interactions.pseudonyms import PseudonymKey, with_pseudonyms
from salience.interactions.redaction import redacted
from salience.interactions.rules import ROW_RULES
from salience.settings import CleanSettings
from salience.sources.deliveries import Delivery
from salience.sources.mapping import BRONZE_TABLES, Dataset, SourceMapping
from salience.sources.typed import FIRST_OF_ROW, RAW, names_where, typed_rows


def bronze_rows(
    spark: SparkSession,
    mapping: SourceMapping,
    dataset: Dataset,
    key: PseudonymKey,
    deliveries: Sequence[Delivery],
    settings: CleanSettings,
    erased: DataFrame | None = None,
) -> DataFrame:
    """Return the deliveries' rows with all of bronze's columns and `FIRST_OF_ROW`; those of `erased` people redacted.

    An event id that the log does not give is a hash over the raw user id, among others. It goes on to silver, so it is
    put under the platform's key: without it, anybody could try user ids until the hash fits.
    """
    rows = typed_rows(spark, mapping, dataset, deliveries)
    if dataset == "interactions" and "event_id" not in mapping.datasets[dataset].columns:
        rows = with_pseudonyms(spark, rows, key, {"event_id": "event_id"})
    return redacted(spark, judge(rows, dataset, settings), dataset, key, erased)


def judge(typed: DataFrame, dataset: Dataset, settings: CleanSettings) -> DataFrame:
    """Return typed rows with `violations`, the sorted names of the broken rules, and where there are any, `payload`."""
    rules = sorted(ROW_RULES[dataset], key=lambda rule: rule.name)
    judged = typed.withColumn("violations", names_where({rule.name: rule.broken(settings) for rule in rules}))
    judged = judged.withColumn("payload", F.when(F.size("violations") > 0, F.to_json(RAW)))
    return judged.select(*(column.name for column in BRONZE_TABLES[dataset].columns), FIRST_OF_ROW)
