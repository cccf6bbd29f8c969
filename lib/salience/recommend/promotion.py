"""What a release recommends with on a platform: chosen, judged beside baselines, measured against what is in force."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame

from salience.recommend.evaluate import choose, report
from salience.recommend.gate import Verdict, at_point, decide
from salience.recommend.split import Cuts
from salience.settings.recommend import RecommendSettings

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Promotion:
    """The verdict, rows of gold.recommender_evaluation without release, and the ndcg of each grid point tried."""

    verdict: Verdict
    rows: list[dict[str, Any]]
    tried: Mapping[str, float]


def promote(
    platform: str,
    interactions: DataFrame,
    contents: DataFrame,
    groups: DataFrame,
    windows: Cuts,
    before: Mapping[str, Any] | None,
    settings: RecommendSettings,
    say: Tell,
    tell: Tell,
) -> Promotion:
    """Choose a configuration, judge it, and decide whether it takes the place of the one in force.

    Args:
        platform: whose rows these are.
        interactions, contents: rows of silver.
        groups: user_id, segment: what people are judged apart by.
        windows: of the time protocol.
        before: the manifest of the model in force; None where there is none.
        settings: the grid, what is compared, the gate.
        say: told what is being done.
        tell: told what a person must not miss.
    """
    say(f"{platform}: tries ALS settings")
    choice = choose(interactions, contents, windows, settings)
    say(f"{platform}: judges {choice.point} and the baselines on later days")
    found = report(interactions, contents, windows, choice, settings, groups, lambda text: tell(f"{platform}: {text}"))
    if not found:
        tell(f"{platform}: too little history to judge recommenders; shorten recommend.evaluation_days")
    chosen = at_point(settings, choice.point)
    verdict = decide(interactions, contents, before, chosen, (windows.choose_end, windows.report_end))
    (say if verdict.is_promoted else tell)(f"{platform}: {verdict.why}")
    rows = [{"platform": platform, **row} for row in verdict.published(found)]
    say(f"{platform}: fits what recommends on everything")
    return Promotion(verdict, rows, choice.tried)
