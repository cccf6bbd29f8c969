"""The order in which a search tries the points of a grid."""

from salience.recommend.models.interface import points


def test_every_half_life_is_tried_before_another_parameter_changes_and_the_last_one_named_changes_first():
    tried = points([7, None], rank=[64, 32], regularisation=[0.4, 0.2])
    assert [(p["rank"], p["regularisation"], p["half_life_days"]) for p in tried] == [
        (64, 0.4, 7),
        (64, 0.4, None),
        (64, 0.2, 7),
        (64, 0.2, None),
        (32, 0.4, 7),
        (32, 0.4, None),
        (32, 0.2, 7),
        (32, 0.2, None),
    ]


def test_without_other_parameters_only_the_half_lives_are_tried():
    assert points([7, None]) == [{"half_life_days": 7}, {"half_life_days": None}]
