"""Lets the `implicit` package list the best of everyone from arrays in memory; saves the lists, prints the seconds."""

import argparse
import json
from pathlib import Path
from time import monotonic

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix

from benchmarks.crowd import Crowd
from benchmarks.lists import factors_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("crowd", type=Path)
    parser.add_argument("factors", type=Path)
    parser.add_argument("lists", type=Path)
    parser.add_argument("--k", type=int)
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args()
    users, items = factors_of(asked.factors)
    user, item = Crowd(asked.crowd).places()
    seen = csr_matrix((np.ones(len(user), np.float32), (user, item)), shape=(len(users), len(items)))
    model = AlternatingLeastSquares(factors=users.shape[1], num_threads=asked.threads)
    model.user_factors, model.item_factors = users, items
    begun = monotonic()
    listed, _ = model.recommend(np.arange(len(users)), seen, N=asked.k, filter_already_liked_items=True)
    seconds = monotonic() - begun
    np.save(asked.lists, listed)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
