"""The fallback ladder: sources that propose contents to people, best first, so that everyone gets a full list.

One pass over people: each source scores, what may not be shown is masked, each gets its number of places in turn, and
the room that is left is filled in the order of the ladder. A content comes once, by the first source with a place for
it. The last rung knows every content that may be shown, so a list is short only where these are fewer.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import Broadcast
from pyspark.sql import DataFrame

from salience.recommend.arms import PERSONALISED
from salience.recommend.best import Doubles, Integers, best, within
from salience.recommend.explain import T_REASON, Reasons, because, strongest
from salience.recommend.models.interface import Scorer
from salience.recommend.topk import places_of, seen_places

LISTED = (
    "user_id string, arm string, place int, content_id string, score double, source string, "
    "because array<struct<content_id:string,contribution:double,share:double>>"
)
T_BECAUSE = pa.list_(T_REASON)

_SCORES_AT_ONCE = 4_000_000
"""Scores of one source that a task holds at a time: 32 MB of doubles; a blend holds some of its parts' beside them."""


@dataclass(frozen=True)
class Rung:
    """A source of proposals.

    name: one of tables.recommendations.SOURCES.
    places: it may propose so many contents before the later ones get their turn.
    scorer: None where a column of the asking, named like the source, holds its proposals (array of (content_id, score,
        because), best first) already.
    for_everyone: whether it serves all people, and proposes whatever it knows. One that is personal serves the
        personalised arm alone, and people of whom it knows something: whose scores are not all 0.
    above: it proposes only what it scores higher than that: of sums that rest on nothing, what is 0 is unknown.
    """

    name: str
    places: int
    scorer: Scorer | None = None
    for_everyone: bool = False
    above: float = 0.0


@dataclass(frozen=True)
class Ladder:
    """The rungs, first the one to prefer, over the contents that may be shown.

    content_ids: sorted.
    length: of the lists.
    """

    rungs: Sequence[Rung]
    content_ids: pa.Array
    length: int


@dataclass(frozen=True)
class Proposals:
    """Contents proposed to the people of a batch, by rung, person and rank; `content` counts Ladder.content_ids."""

    rung: Integers
    person: Integers
    content: Integers
    score: Doubles


def climb(asking: DataFrame, ladder: Ladder) -> DataFrame:
    """List each person's contents.

    Args:
        asking: user_id, arm, own (HISTORY, or null), seen (array of content_id: what may not be shown), and the columns
            that the rungs read.
        ladder: see there.

    Returns:
        LISTED: a row for each entry; place counts from 1, in the order of the rungs, and within one of its scores.
    """
    return asking.mapInArrow(_climber(asking.sparkSession.sparkContext.broadcast(ladder)), LISTED)


def _climber(shared: Broadcast[Ladder]) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def list_all(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        ladder = shared.value
        steps = [_Step.of(rung, ladder) for rung in ladder.rungs]
        at_once = max(1, _SCORES_AT_ONCE // max(1, len(ladder.content_ids), *(step.size for step in steps)))
        for whole in batches:
            rows, contents = seen_places(whole.column("seen"), ladder.content_ids)
            for start in range(0, whole.num_rows, at_once):
                low, high = np.searchsorted(rows, (start, start + at_once))
                seen = rows[low:high] - start, contents[low:high]
                yield _listed(whole.slice(start, at_once), ladder, steps, seen)

    return list_all


@dataclass(frozen=True)
class _Step:
    """How the contents of a rung's scorer and those of the ladder count each other, -1 for those of one alone."""

    to_ladder: Integers
    to_scorer: Integers

    @staticmethod
    def of(rung: Rung, ladder: Ladder) -> "_Step":
        known = NOTHING if rung.scorer is None else rung.scorer.content_ids
        return _Step(places_of(known, ladder.content_ids), places_of(ladder.content_ids, known))

    @property
    def size(self) -> int:
        """How many contents the scorer knows."""
        return len(self.to_ladder)


NOTHING = pa.array([], pa.string())

Seen = tuple[Integers, Integers]
"""Row, and place in Ladder.content_ids, of what people may not be shown; rows in ascending order."""


def _listed(batch: pa.RecordBatch, ladder: Ladder, steps: Sequence[_Step], seen: Seen) -> pa.RecordBatch:
    found = [_proposals(batch, ladder, number, steps[number], seen) for number in range(len(ladder.rungs))]
    every = Proposals(*(np.concatenate([getattr(p, name) for p in found]) for name in Proposals.__annotations__))
    quotas = np.array([rung.places for rung in ladder.rungs], np.int64)
    taken = chosen(every, quotas, ladder.length)
    person, rung, content = every.person[taken], every.rung[taken], every.content[taken]
    place = (within(person) + 1).astype(np.int32)
    names = pa.array([rung.name for rung in ladder.rungs], pa.string())
    columns = {
        "user_id": batch.column("user_id").take(pa.array(person)),
        "arm": batch.column("arm").take(pa.array(person)),
        "place": pa.array(place),
        "content_id": ladder.content_ids.take(pa.array(content)),
        "score": pa.array(every.score[taken]),
        "source": names.take(pa.array(rung)),
        "because": _because(batch, ladder, steps, person, rung, content),
    }
    return pa.RecordBatch.from_pydict(columns)


def _proposals(batch: pa.RecordBatch, ladder: Ladder, number: int, step: _Step, seen: Seen) -> Proposals:
    """Return what one rung proposes, by person and rank."""
    rung = ladder.rungs[number]
    if rung.scorer is None:
        lists = batch.column(rung.name)
        flat, lengths = lists.flatten(), pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        content = places_of(flat.field("content_id"), ladder.content_ids)
        score = flat.field("score").to_numpy(zero_copy_only=False)
        person, known = np.repeat(np.arange(len(batch)), lengths), content >= 0
        person, content, score = person[known], content[known], score[known]
    else:
        scores, above = rung.scorer.scores(batch), -np.inf
        if not rung.for_everyone:
            is_personal = pc.equal(batch.column("arm"), PERSONALISED).to_numpy(zero_copy_only=False)
            scores[~(is_personal & scores.any(axis=1))], above = -np.inf, rung.above
        scores[:, step.to_ladder < 0] = -np.inf
        rows, columns = seen[0], step.to_scorer[seen[1]]
        column, score, lengths = best(scores, rows[columns >= 0], columns[columns >= 0], ladder.length, above)
        person, content = np.repeat(np.arange(len(batch)), lengths), step.to_ladder[column]
    return Proposals(np.full(len(person), number), person, content, score)


def chosen(every: Proposals, quotas: Integers, length: int) -> Integers:
    """Return which proposals make the lists, by person, rung and rank.

    Each rung in turn gets its places, with what it proposes that no earlier one has taken; then each in turn gets the
    room that is left.

    Args:
        every: by rung, person and rank.
        quotas: places of each rung before the later ones get their turn.
        length: of the lists; at least the sum of the quotas.
    """
    pair = every.person * (1 + every.content.max(initial=0)) + every.content
    of_rung = [np.flatnonzero(every.rung == number) for number in range(len(quotas))]
    room = np.full(1 + every.person.max(initial=0), length)
    taken = np.empty(0, np.int64)
    for limits in (quotas, np.full(len(quotas), length)):
        for mine, limit in zip(of_rung, limits, strict=True):
            free = mine[~np.isin(pair[mine], pair[taken])]
            person = every.person[free]
            picked = free[within(person) < np.minimum(limit, room[person])]
            room -= np.bincount(every.person[picked], minlength=len(room))
            taken = np.concatenate([taken, picked])
    return np.asarray(taken[np.lexsort((taken, every.person[taken]))])


def _because(
    batch: pa.RecordBatch,
    ladder: Ladder,
    steps: Sequence[_Step],
    person: Integers,
    rung: Integers,
    content: Integers,
) -> pa.ListArray:
    """Return each entry's reasons; null where its source has none."""
    told, order = [], []
    for number, source in enumerate(ladder.rungs):
        mine = np.flatnonzero(rung == number)
        order.append(mine)
        if source.scorer is None:
            told.append(_given(batch.column(source.name), ladder, person[mine], content[mine]))
        else:
            wanted = steps[number].to_scorer[content[mine]]
            told.append(_explained(batch, source.scorer, person[mine], wanted))
    back = np.argsort(np.concatenate(order), kind="stable")
    return pa.concat_arrays(told).take(pa.array(back))


def _given(lists: pa.ListArray, ladder: Ladder, person: Integers, content: Integers) -> pa.ListArray:
    """Return the reasons that came with the proposals."""
    flat = lists.flatten()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    size = len(ladder.content_ids) + 1
    there = np.repeat(np.arange(len(lists)), lengths) * size + places_of(flat.field("content_id"), ladder.content_ids)
    sorted_ = np.argsort(there, kind="stable")
    found = sorted_[np.searchsorted(there[sorted_], person * size + content)] if len(person) else person
    return flat.field("because").cast(T_BECAUSE).take(pa.array(found))


def _explained(batch: pa.RecordBatch, scorer: Scorer, person: Integers, wanted: Integers) -> pa.ListArray:
    """Return the reasons that a scorer's explainer tells; nulls where it has none."""
    explainer = scorer.explainer(batch) if len(person) else None
    if explainer is None:
        return pa.nulls(len(person), T_BECAUSE)
    own = batch.column("own")
    offsets = own.offsets.to_numpy()
    reasons: list[Reasons] = []
    for begin, end in zip(*_runs(person), strict=True):
        found = strongest(explainer.contributions(int(person[begin]), wanted[begin:end]))
        reasons.append(replace(found, places=found.places + offsets[person[begin]]))
    return because(reasons, own.values.field("content_id"))


def _runs(groups: Integers) -> tuple[Integers, Integers]:
    """Return where runs of equal elements begin and end."""
    edges = np.flatnonzero(np.diff(groups)) + 1
    if not len(groups):
        return edges, edges
    return np.concatenate([[0], edges]), np.append(edges, len(groups))
