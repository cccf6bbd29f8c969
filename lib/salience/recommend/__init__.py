"""Recommenders: confidence, training, ranking, explanation, evaluation."""
