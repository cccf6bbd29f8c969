"""What each feature says about engaging, and how surely: unpenalised logistic regression with errors by person.

Exposures of one person are alike, so they tell less than as many exposures of different people. The coefficients are
those of maximum likelihood, as if all exposures were independent; their errors count people instead: the sandwich
covariance of Liang and Zeger (1986, Biometrika 73), clustered by person. With some 100 people that is too small, above
all for what differs between people but not within one, so residuals are corrected for what each person's own rows did
to the fit (Mancl and DeRouen 2001, Biometrics 57).

In the basis z in which the Hessian is the identity, with s_g = sum of z (y - p) and M_g = sum of p (1 - p) z z' over
the rows of person g, the covariance is sum_g t_g t_g' where t_g = (I - M_g)^-1 s_g; without the correction t_g = s_g
and the sum is multiplied by G/(G-1) (n-1)/(n-p), for G people, n rows and p parameters.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, inf, isfinite, log

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from scipy.linalg import solve_triangular
from scipy.special import expit, log_expit
from scipy.stats import t as student

from salience.errors import InputError
from salience.stats.draws import uniform
from salience.stats.small_cells import PEOPLE
from salience.tables.engagement import Status

EVENTS_PER_PARAMETER = 20
"""How many exposures of the rarer label there must be for each parameter that is fitted, the intercept included."""

INTERCEPT = "(intercept)"
LEVEL = 0.95
"""Of the intervals."""

_SAME = 1e-12
"""Values of a feature that lie this close, as a share of the largest, differ by rounding."""
_COLLINEAR = 1e-7
"""Share of a feature's spread that is left once earlier features have explained the rest: below it, rounding."""
_MOST_STEPS = 100
_MOST_HALVINGS = 30
_STEP = 1e-8
"""Length of Newton's last step in standard errors; the error left after it is about its square."""
_FLAT = exp(-30)
"""Curvature of the likelihood, per unit of spread, in a direction in which all rows have log odds beyond +-30."""
_ALONE = 1e-9
"""Weight of all others in what one person tells: below it, rounding."""
_ROUNDING = 1e-6
"""A share of an error, or of what tells a coefficient, that is as good as nothing."""
_LARGEST = log(np.finfo(float).max)
_SALT = 20_011
"""Sets the draw of people apart from other draws out of the same hash."""

_NAMES = ("coefficient", "std_error", "odds_ratio", "ci_low", "ci_high", "p_value")
_INFERRED = (
    T.StructField("rows", T.LongType()),
    T.StructField("positives", T.LongType()),
    T.StructField(PEOPLE, T.MapType(T.StringType(), T.LongType())),
    T.StructField("status", T.StringType()),
)
_COUNTS = pa.map_(pa.string(), pa.int64())

Doubles = npt.NDArray[np.float64]
Figures = Mapping[str, float | None]


class Errors(StrEnum):
    """Covariances by person."""

    MANCL_DEROUEN = "mancl_derouen"
    """With the correction for a person's own weight in the fit: for publication."""
    LIANG_ZEGER = "liang_zeger"
    """Without it, times G/(G-1) (n-1)/(n-p): what other programs compute by default."""


def bounded(examples: DataFrame, most_rows: int, rows: int) -> DataFrame:
    """Return the rows of people chosen by a hash, about `most_rows` of them; all where there are no more.

    Args:
        examples: user_id and any further columns; all rows of a person are kept, or none.
        most_rows: that are wanted, at least 1.
        rows: of `examples`.
    """
    if rows <= most_rows:
        return examples
    # Hashed twice, as salience.stats.bootstrap does.
    return examples.where(uniform(F.xxhash64(F.xxhash64("user_id"), F.lit(_SALT))) < F.lit(most_rows / rows))


def infer(
    examples: DataFrame,
    keys: Sequence[str],
    features: Sequence[str],
    label: str,
    errors: Errors = Errors.MANCL_DEROUEN,
) -> DataFrame:
    """Fit P(label = 1) = 1 / (1 + exp(-(intercept + sum of coefficient x feature))) in each group of `keys`.

    Intervals and p-values (of the hypothesis that a coefficient is 0) take the estimate for t-distributed with G - 1
    degrees of freedom. A group is fitted in the memory of one task, about 80 doubles a row with 10 features: see
    `bounded`. The rows' order and spread change nothing.

    Args:
        examples: keys, user_id, `features` as finite numbers and the label (0 or 1), none of them null.
        keys: columns whose groups are fitted apart.
        features: names of the feature columns.
        label: name of the label's column.
        errors: the covariance.

    Returns:
        keys, feature (the intercept is one too), coefficient (log odds per unit of the feature), std_error, odds_ratio
        (exp of the coefficient; null where a double cannot hold it), ci_low, ci_high (of the coefficient), p_value,
        rows, positives, people (`everyone`, and those with a positive, or with a negative), status (see Status). The
        figures are null unless the status is `estimated`.

    Raises:
        InputError: in the task, for a group with a feature or label that is null, nan or infinite.
    """
    columns = (F.col(name).cast("double").alias(name) for name in (label, *features))
    figures = [T.StructField(name, T.DoubleType()) for name in _NAMES]
    of_keys = examples.select(*keys).schema
    schema = T.StructType([*of_keys, T.StructField("feature", T.StringType()), *figures, *_INFERRED])
    groups = examples.select(*keys, "user_id", *columns).groupBy(*keys)
    return groups.applyInArrow(_inferrer(tuple(features), label, errors), schema)


def _inferrer(
    features: tuple[str, ...], label: str, errors: Errors
) -> Callable[[tuple[pa.Scalar, ...], pa.Table], pa.Table]:
    def infer_group(key: tuple[pa.Scalar, ...], group: pa.Table) -> pa.Table:
        told = ", ".join(str(part) for part in key)
        examples = _read(group, features, label, told)
        status, figures = examples.inferred(errors)
        rows = len(status)
        columns = {name: pa.repeat(value, rows) for name, value in zip(group.column_names, key, strict=False)}
        columns["feature"] = pa.array(status)
        columns |= {name: pa.array([figures.get(of, {}).get(name) for of in status], pa.float64()) for name in _NAMES}
        counts = {"rows": len(examples.label), "positives": int(examples.label.sum())}
        columns |= {name: pa.array([count] * rows, pa.int64()) for name, count in counts.items()}
        columns[PEOPLE] = pa.array([list(examples.people.items())] * rows, _COUNTS)
        columns["status"] = pa.array(status.values())
        return pa.table(columns)

    return infer_group


def _read(group: pa.Table, features: tuple[str, ...], label: str, told: str) -> "_Examples":
    """Return a group's rows in one order whatever the order of arrival, which would show in the last digits of sums."""
    names = (label, *features)
    ordered = group.sort_by([(name, "ascending") for name in ("user_id", *names)])
    numbers = np.column_stack([ordered.column(name).to_numpy() for name in names])
    for name, is_finite in zip(names, np.isfinite(numbers).all(axis=0), strict=True):
        if not is_finite:
            raise InputError(f"{name} of the group {told} holds a null, nan or infinity: leave such rows out first")
    ends = pc.run_end_encode(ordered.column("user_id").combine_chunks()).run_ends.to_numpy()
    return _Examples(features, numbers[:, 1:], numbers[:, 0], np.append(0, ends[:-1]))


@dataclass(frozen=True)
class _Basis:
    """An orthonormal basis of the intercept and of the features that are fitted, (rows, parameters).

    `names` are the parameters in order; coefficients are `back` @ those of the basis; `left_out` says why a feature is
    not fitted.
    """

    vectors: Doubles
    names: tuple[str, ...]
    back: Doubles
    left_out: Mapping[str, Status]


@dataclass(frozen=True)
class _Examples:
    """One group: features (rows, features), label (rows,), and where the rows of each person start."""

    names: tuple[str, ...]
    features: Doubles
    label: Doubles
    starts: npt.NDArray[np.int64]

    @property
    def people(self) -> dict[str, int]:
        """How many there are, and how many with a positive, or a negative."""
        positives = np.add.reduceat(self.label, self.starts)
        rows = np.diff(self.starts, append=len(self.label))
        engaged, unengaged = int((positives > 0).sum()), int((positives < rows).sum())
        return {"everyone": len(self.starts), "engaged": engaged, "unengaged": unengaged}

    def inferred(self, errors: Errors) -> tuple[dict[str, Status], dict[str, Figures]]:
        """Return the status of the intercept and every feature in order, and the figures of those estimated."""
        basis = _orthonormal(self.names, self.features)
        status = {name: basis.left_out.get(name, Status.ESTIMATED) for name in (INTERCEPT, *self.names)}
        found = self._cannot_be_fitted(len(basis.names))
        fitted = None if found else _maximum(basis.vectors, self.label)
        if fitted is None:
            found = found or Status.SEPARATED
            return status | dict.fromkeys(basis.names, found), {}
        coefficients, halves, is_told = self._clustered(basis, fitted, errors)
        status |= {name: Status.TOO_FEW_PEOPLE for name, told in zip(basis.names, is_told, strict=True) if not told}
        freedom = len(self.starts) - 1
        figures = {
            name: _figures(value, error, freedom)
            for name, value, error, told in zip(basis.names, coefficients, halves, is_told, strict=True)
            if told
        }
        return status, figures

    def _cannot_be_fitted(self, parameters: int) -> Status | None:
        positives = int(self.label.sum())
        rarer = min(positives, len(self.label) - positives)
        if rarer == 0:
            return Status.ONE_LABEL
        if rarer < EVENTS_PER_PARAMETER * parameters:
            return Status.TOO_FEW_EVENTS
        # The scores of all people add up to 0: they span one dimension less than there are people.
        return Status.TOO_FEW_PEOPLE if len(self.starts) <= parameters else None

    def _clustered(
        self, basis: _Basis, fitted: Doubles, errors: Errors
    ) -> tuple[Doubles, Doubles, npt.NDArray[np.bool_]]:
        """Return coefficients, their standard errors, and whether enough people tell each; all (parameters,)."""
        p, weight = _probabilities(basis.vectors @ fitted)
        root = np.linalg.cholesky((basis.vectors * weight[:, None]).T @ basis.vectors)
        white = solve_triangular(root, basis.vectors.T, lower=True).T
        back = basis.back @ solve_triangular(root, np.eye(len(root)), lower=True).T
        scores = np.add.reduceat(white * (self.label - p)[:, None], self.starts)
        shares = np.empty((len(self.starts), *root.shape))
        for i, j in zip(*np.tril_indices(len(root)), strict=True):
            shares[:, i, j] = shares[:, j, i] = np.add.reduceat(weight * white[:, i] * white[:, j], self.starts)
        values, axes = np.linalg.eigh(shares)
        # Along an axis with the whole weight, one person alone decides: without them nothing could be told.
        is_alone = values > 1 - _ALONE
        naive = np.linalg.norm(back, axis=1)
        alone = axes.transpose(0, 2, 1)[is_alone]
        by_one = (np.abs(alone @ back.T) > _ROUNDING * naive).any(axis=0)
        if errors is Errors.MANCL_DEROUEN:
            along = np.einsum("gij,gi->gj", axes, scores)
            scores = np.einsum("gij,gj->gi", axes, along / np.where(is_alone, 1.0, 1 - values))
        error = np.linalg.norm(scores @ back.T, axis=0)
        if errors is Errors.LIANG_ZEGER:
            people, (rows, parameters) = len(self.starts), basis.vectors.shape
            error *= (people / (people - 1) * (rows - 1) / (rows - parameters)) ** 0.5
        return basis.back @ fitted, error, ~by_one & (error > _ROUNDING * naive)


def _orthonormal(names: tuple[str, ...], features: Doubles) -> _Basis:
    """Return a basis by Gram-Schmidt in the order of the features, each projected twice.

    The second projection removes what rounding left of the first (Giraud, Langou and Rozloznik 2005, Computers and
    Mathematics with Applications 50).
    """
    rows = len(features)
    vectors, kept, left_out = np.full((rows, 1), rows**-0.5), [], {}
    for place, name in enumerate(names):
        column = features[:, place]
        if np.ptp(column) <= _SAME * np.abs(column).max():
            left_out[name] = Status.CONSTANT
            continue
        rest = column - column.mean()
        rest /= np.abs(rest).max()
        spread = np.linalg.norm(rest)
        for _ in range(2):
            rest = rest - vectors @ (vectors.T @ rest)
        if np.linalg.norm(rest) <= _COLLINEAR * spread:
            left_out[name] = Status.COLLINEAR
            continue
        vectors = np.column_stack([vectors, rest / np.linalg.norm(rest)])
        kept.append(place)
    means = features[:, kept].mean(axis=0)
    # The fitted columns are vectors @ upper; about their means, so that large ones do not blur small differences.
    upper = np.triu(vectors.T @ np.column_stack([np.full(rows, 1.0), features[:, kept] - means]))
    upper[0, 1:] = means * rows**0.5
    fitted = (INTERCEPT, *(names[place] for place in kept))
    return _Basis(vectors, fitted, solve_triangular(upper, np.eye(len(upper))), left_out)


def _maximum(basis: Doubles, label: Doubles) -> Doubles | None:
    """Return the coefficients that maximise the likelihood, by Newton's method; None where it has no maximum.

    It has none exactly if some combination of features never misjudges the label (Albert and Anderson 1984, Biometrika
    71). Newton then walks on for ever, by about 1 in log odds, and the likelihood becomes flat: its curvature along an
    orthonormal direction is a mean of p (1 - p) over the rows that tell of it.

    Args:
        basis: orthonormal, (rows, parameters); the first column is constant.
        label: 0 or 1 and each at least once, (rows,).
    """
    rate = label.mean()
    at = np.zeros(basis.shape[1])
    at[0] = log(rate / (1 - rate)) / basis[0, 0]
    side = 2 * label - 1
    likelihood = log_expit(side * (basis @ at)).sum()
    for _ in range(_MOST_STEPS):
        p, weight = _probabilities(basis @ at)
        hessian = (basis * weight[:, None]).T @ basis
        if np.linalg.eigvalsh(hessian)[0] < _FLAT:
            return None
        gradient = basis.T @ (label - p)
        step = np.linalg.solve(hessian, gradient)
        length = gradient @ step
        for _ in range(_MOST_HALVINGS):
            reached = log_expit(side * (basis @ (at + step))).sum()
            # At the top, rounding makes it a little less.
            if reached >= likelihood * (1 + _SAME):
                break
            step = step / 2
        at, likelihood = at + step, reached
        if length < _STEP**2:
            return at
    return None


def _probabilities(log_odds: Doubles) -> tuple[Doubles, Doubles]:
    """Return p and p (1 - p), both exact near 1 too."""
    p = expit(log_odds)
    return p, p * expit(-log_odds)


def _figures(coefficient: float, error: float, freedom: int) -> Figures:
    half = student.ppf((1 + LEVEL) / 2, freedom) * error
    figures = {
        "coefficient": coefficient,
        "std_error": error,
        "odds_ratio": exp(coefficient) if coefficient < _LARGEST else inf,
        "ci_low": coefficient - half,
        "ci_high": coefficient + half,
        "p_value": 2 * student.sf(abs(coefficient) / error, freedom),
    }
    return {name: float(value) if isfinite(value) else None for name, value in figures.items()}
