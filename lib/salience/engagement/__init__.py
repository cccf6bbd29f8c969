"""The engagement model: exposures and labels, features, logistic regression, evaluation."""
