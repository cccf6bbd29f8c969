"""Picks lists that are relevant and varied: maximal marginal relevance, and a cap on the contents of a creator.

Of the contents a and b with tags {x}, relevant by 1 and 0.9, and c with {y}, by 0.8, at lambda = 0.5: a comes first;
then c, by 0.5 x 0.8 - 0.5 x 0 = 0.4, before b, by 0.5 x 0.9 - 0.5 x 1 = -0.05.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salience.recommend.best import Doubles, Integers

Booleans = npt.NDArray[np.bool_]

NONE = -1
"""Stands for no place, and for an unknown creator."""


@dataclass(frozen=True)
class Candidates:
    """What several people may be shown: (people, width) arrays, a person's candidates in order of place, then nothing.

    is_there: whether there is a candidate.
    relevance: 0 to 1.
    is_last: whether it comes after all of which this is false.
    creators: numbers from 0; NONE where unknown.
    tags: of the candidates.
    """

    is_there: Booleans
    relevance: Doubles
    is_last: Booleans
    creators: Integers
    tags: "Tags"


@dataclass(frozen=True)
class Tags:
    """Tags of people's candidates, one entry for each tag of each candidate.

    places: where the candidate stands, person x width + place.
    pairs: number of the (person, tag) pair, from 0.
    sizes: (people, width), how many tags each candidate has.
    """

    places: Integers
    pairs: Integers
    sizes: Integers


def tags_of(places: Integers, codes: Integers, shape: tuple[int, int]) -> Tags:
    """Number the tags of each person.

    Args:
        places: of the entries, as in `Tags`.
        codes: number of each entry's tag, from 0; each at most once for a candidate.
        shape: (people, width).
    """
    people, width = shape
    vocabulary = codes.max(initial=0) + 1
    _, pairs = np.unique(places // max(1, width) * vocabulary + codes, return_inverse=True)
    sizes = np.bincount(places, minlength=people * width).reshape(shape)
    return Tags(places, pairs.astype(np.int64), sizes.astype(np.int64))


def pick(found: Candidates, count: int, mmr_lambda: float, creator_cap: int | None) -> Integers:
    """Pick each person's list, one content after the other, by maximal marginal relevance (Carbonell, Goldstein 1998).

    The next one has the largest lambda x relevance - (1 - lambda) x (the largest similarity to one that is picked
    already, 0 for the first); ties go to the smaller place. Similarity is the cosine of the tags, each counting 1, and
    0 without tags. What `is_last` waits for all others, and what a creator has too much of for those as well.

    Args:
        found: what there is.
        count: length of the lists.
        mmr_lambda: 0 to 1.
        creator_cap: at most so many of one creator while there are others; None for no cap.

    Returns:
        (people, count) columns of `found`, best first; NONE where a person has no more.
    """
    people, width = found.is_there.shape
    everyone, free = np.arange(people), found.is_there.copy()
    nearest, of_creator = np.zeros((people, width)), np.zeros((people, width), np.int64)
    picked = np.full((people, count), NONE, np.int64)
    for step in range(min(count, width)):
        worth = mmr_lambda * found.relevance - (1 - mmr_lambda) * nearest
        turn = found.is_last + 2 * (~_has_room(found.creators, of_creator, creator_cap)) + 4 * ~free
        first = turn.min(axis=1, keepdims=True)
        best = np.where(turn == first, worth, -np.inf).argmax(axis=1)
        some = free[everyone, best]
        picked[:, step] = np.where(some, best, NONE)
        free[everyone, best] = False
        if mmr_lambda < 1:
            nearest = np.maximum(nearest, similarity(found.tags, best))
        of_creator += found.creators == found.creators[everyone, best][:, None]
    return picked


def similarity(tags: Tags, chosen: Integers) -> Doubles:
    """Return the cosine of each candidate's tags to those of one candidate a person, (people, width).

    Args:
        tags: of the candidates.
        chosen: (people,) columns.
    """
    people, width = tags.sizes.shape
    is_chosen = tags.places % max(1, width) == chosen[tags.places // max(1, width)]
    held = np.zeros(len(tags.pairs))
    held[tags.pairs[is_chosen]] = 1
    common = np.bincount(tags.places, weights=held[tags.pairs], minlength=people * width).reshape(people, width)
    norms = np.sqrt(tags.sizes * tags.sizes[np.arange(people), chosen][:, None])
    return np.asarray(common / np.where(norms > 0, norms, 1.0))


def with_room(found: Candidates, picked: Integers, creator_cap: int | None) -> Booleans:
    """Return which candidates could all be added to lists without breaking the cap, (people, width).

    Of a creator with room for n more, these are the n that are left with the smallest places.

    Args:
        found: what there is.
        picked: (people, any) columns that are in the lists already; NONE for none.
        creator_cap: as for `pick`.
    """
    rows, columns = np.nonzero(picked != NONE)
    free = found.is_there.copy()
    free[rows, picked[rows, columns]] = False
    at = np.broadcast_to(np.arange(free.shape[1]), free.shape)
    # Those in the lists first, then those that are left, by place; then it is counted up to the cap.
    order = np.lexsort((at, free, found.creators))
    creators = np.take_along_axis(found.creators, order, axis=1)
    begins = np.ones(free.shape, bool)
    begins[:, 1:] = creators[:, 1:] != creators[:, :-1]
    before = at - np.maximum.accumulate(np.where(begins, at, 0), axis=1)
    counts = np.empty_like(order)
    np.put_along_axis(counts, order, before, axis=1)
    return free & _has_room(found.creators, counts, creator_cap)


def _has_room(creators: Integers, counts: Integers, creator_cap: int | None) -> Booleans:
    return np.ones(creators.shape, bool) if creator_cap is None else (creators == NONE) | (counts < creator_cap)
