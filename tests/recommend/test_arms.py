from pyspark.sql import functions as F

from salience.recommend.arms import HELD_OUT, NOT_PERSONALISED, PERSONALISED, with_arms


def held_out(people, platform, settings, **changed):
    arms = with_arms(people, platform, settings.recommend.holdout.model_copy(update=changed))
    return {row["user_id"] for row in arms.where(F.col("arm") == HELD_OUT).collect()}


def everyone(spark, count):
    return spark.range(count).select(F.col("id").cast("string").alias("user_id"), F.lit(True).alias("personalised"))


def test_a_share_is_held_out_alike_each_time_and_anew_by_platform_and_salt(spark, settings):
    people = everyone(spark, 40_000)
    out = held_out(people, "feed", settings, share=0.05, salt="1")
    # Binomial with a standard error of .0011; two independent draws share .0025 of the people.
    assert abs(len(out) / 40_000 - 0.05) < 4 * 0.0011
    assert held_out(people.orderBy(F.rand(1)), "feed", settings, share=0.05, salt="1") == out
    for other in (
        held_out(people, "video", settings, share=0.05, salt="1"),
        held_out(people, "feed", settings, share=0.05, salt="2"),
    ):
        assert abs(len(out & other) / 40_000 - 0.0025) < 4 * 0.00025


def test_a_larger_share_holds_out_the_same_people_and_more_and_no_share_nobody(spark, settings):
    people = everyone(spark, 2000)
    out = held_out(people, "feed", settings, share=0.05)
    assert out < held_out(people, "feed", settings, share=0.3)
    assert held_out(people, "feed", settings, share=0.0) == set()


def test_who_refuses_is_in_no_draw(spark, settings):
    people = spark.createDataFrame([("a", True), ("b", False)], "user_id string, personalised boolean")
    arms = with_arms(people, "feed", settings.recommend.holdout.model_copy(update={"share": 0.0}))
    assert {tuple(row) for row in arms.collect()} == {("a", PERSONALISED), ("b", NOT_PERSONALISED)}
