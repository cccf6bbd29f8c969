"""What bronze keeps of deliveries: typed rows, each with the row rules that it breaks."""

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession

from salience.interactions.pseudonyms import PseudonymKey, with_pseudonyms
from salience.interactions.row_rules import judge
from salience.settings import CleanSettings
from salience.sources.deliveries import Delivery
from salience.sources.mapping import Dataset, SourceMapping
from salience.sources.typed import RAW, typed_rows


def bronze_rows(
    spark: SparkSession,
    mapping: SourceMapping,
    dataset: Dataset,
    key: PseudonymKey,
    deliveries: Sequence[Delivery],
    settings: CleanSettings,
) -> DataFrame:
    """Return the deliveries' rows with all of bronze's columns.

    An event id that the log does not give is a hash over the raw user id, among others. It goes on to silver, so it is
    put under the platform's key: without it, anybody could try user ids until the hash fits.
    """
    rows = typed_rows(spark, mapping, dataset, deliveries)
    if dataset == "interactions" and "event_id" not in mapping.datasets[dataset].columns:
        rows = with_pseudonyms(spark, rows, key, {"event_id": "event_id"})
    return judge(rows, dataset, RAW, settings)
