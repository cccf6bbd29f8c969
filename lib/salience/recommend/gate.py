"""Which configuration is published: a new one only if it is surely not worse than the one in force."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame

from salience.errors import InputError
from salience.recommend.ablation import BASE, judged
from salience.recommend.als import WEIGHTS, Point, fit_settings, grid
from salience.settings.recommend import RecommendSettings

CHAMPION = "champion"
_CHALLENGER = "challenger"


@dataclass(frozen=True)
class Verdict:
    """The configuration to publish, why, and what was measured.

    rows: of gold.recommender_evaluation without release, platform and is_published.
    """

    settings: RecommendSettings
    is_promoted: bool
    why: str
    rows: list[dict[str, Any]] = field(default_factory=list, repr=False)

    def published(self, report: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return a report's rows and those measured here; `is_published` tells which configuration was."""
        told = [{**row, "is_published": row["is_published"] and self.is_promoted} for row in report]
        return told + [{**row, "is_published": row["model"] == CHAMPION and not self.is_promoted} for row in self.rows]

    @property
    def point(self) -> Point:
        """The grid point to publish."""
        return point_of(self.settings)


def at_point(settings: RecommendSettings, point: Point) -> RecommendSettings:
    """Return settings whose grid is one point."""
    one = {"alphas": [point.alpha], "regularisations": [point.regularisation]}
    return settings.model_copy(update={"als": settings.als.model_copy(update=one)})


def point_of(settings: RecommendSettings) -> Point:
    """Return the first point of the grid."""
    return grid(settings.als)[0]


def in_force(manifest: Mapping[str, Any], settings: RecommendSettings) -> RecommendSettings:
    """Return the settings that a saved model was fitted with; all else is as it is now.

    Args:
        manifest: of the model.
        settings: those of today; how the work is spread is theirs, too.
    """
    told = manifest["settings"]
    fixed = {name: told[name] for name in ("rank", "iterations", "seed")}
    then = settings.model_copy(
        update={
            "als": settings.als.model_copy(update=fixed),
            **{name: told[name] for name in WEIGHTS if name in told},
        }
    )
    return at_point(then, Point(told["alpha"], told["regularisation"]))


def decide(
    interactions: DataFrame,
    contents: DataFrame,
    manifest: Mapping[str, Any] | None,
    challenger: RecommendSettings,
    window: tuple[datetime, datetime],
) -> Verdict:
    """Fit both before the window and judge them within it, the same people for both.

    Non-inferiority: the challenger is published if the lower end of the paired 95 % interval of its difference in ndcg
    lies above -margin x the champion's ndcg.

    Args:
        interactions: rows of silver.interactions of one platform.
        contents: rows of silver.contents of that platform.
        manifest: of the model in force, the champion; None where there is none.
        challenger: the one that was chosen, at one point.
        window: the reporting window.
    """
    if manifest is None:
        return Verdict(challenger, True, "no model is in force yet")
    champion = in_force(manifest, challenger)
    used = [fit_settings(point_of(one), one) for one in (champion, challenger)]
    if used[0] == used[1]:
        return Verdict(challenger, True, "its configuration is the one in force")
    try:
        found = judged(interactions, contents, {BASE: champion, _CHALLENGER: challenger}, [window], challenger)
    except InputError as error:
        return Verdict(champion, False, f"the configuration in force stays, for {error}")
    old, new = ({row["variant"]: row for row in found}[name] for name in (BASE, _CHALLENGER))
    rows = [_row(CHAMPION, used[0], old, "value", "ci_low", "ci_high")]
    both = {CHAMPION: used[0], "als": used[1]}
    rows += [_row(f"als - {CHAMPION}", both, new, "difference", "difference_ci_low", "difference_ci_high")]
    gate = challenger.gate
    if new["users"] < gate.min_users:
        why = f"too few people to tell: {new['users']:,} of at least {gate.min_users:,} (recommend.gate.min_users)"
        return Verdict(champion, False, f"the configuration in force stays, for there are {why}", rows)
    bound = -gate.margin * old["value"]
    told = f"ndcg@{new['k']} {new['value']:.4f} against {old['value']:.4f}, a difference of {new['difference']:+.4f} "
    told += f"({new['difference_ci_low']:+.4f} to {new['difference_ci_high']:+.4f}), to lie above {bound:+.4f}"
    if new["difference_ci_low"] > bound:
        return Verdict(challenger, True, f"the new configuration is not worse: {told}", rows)
    return Verdict(champion, False, f"the configuration in force stays, the new one may be worse: {told}", rows)


def _row(
    model: str, used: Mapping[str, Any], found: Mapping[str, Any], value: str, low: str, high: str
) -> dict[str, Any]:
    same = {name: found[name] for name in ("protocol", "metric", "k", "users")}
    told = {"value": found[value], "ci_low": found[low], "ci_high": found[high]}
    return {"model": model, "settings": json.dumps(used, sort_keys=True), "segment": "all", **same, **told}
