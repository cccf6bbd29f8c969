from pyspark.sql import functions as F

from salience.recommend.ids import dense_ids


def test_ids_are_the_ranks_of_the_sorted_values_whatever_their_order(spark):
    names = [f"u{n}" for n in range(200)] * 2
    expected = {name: place for place, name in enumerate(sorted(set(names)))}
    for order in (names, names[::-1]):
        frame = spark.createDataFrame([(name,) for name in order], "user_id string").repartition(3)
        with dense_ids(frame, "user_id") as ids:
            assert {r["user_id"]: r["id"] for r in ids.collect()} == expected
            assert ids.schema["id"].dataType.simpleString() == "int"


def test_ids_stay_dense_over_many_range_partitions(spark):
    spark.conf.set("spark.sql.shuffle.partitions", "7")
    spark.conf.set("spark.sql.adaptive.coalescePartitions.enabled", "false")
    try:
        frame = spark.range(1000).select(F.col("id").cast("string").alias("content_id"))
        with dense_ids(frame, "content_id") as ids:
            assert ids.select(F.spark_partition_id()).distinct().count() == 7
            found = [r["content_id"] for r in ids.orderBy("id").collect()]
            assert found == sorted(str(n) for n in range(1000))
            assert ids.agg(F.max("id"), F.count_distinct("id")).head()[:] == (999, 1000)
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", "2")
        spark.conf.unset("spark.sql.adaptive.coalescePartitions.enabled")


def test_no_values_have_no_ids(spark):
    with dense_ids(spark.createDataFrame([], "user_id string"), "user_id") as ids:
        assert ids.count() == 0
