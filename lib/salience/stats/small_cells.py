"""Small cells: figures about so few people that they tell of somebody are hidden before a table is published.

A cell is a number of people with the columns that tell it, or something of just these people: how often they acted, a
rate, its interval, how long they watched. Where it holds 1 to k - 1 people its columns become null; none at all is
nothing to hide. That what is left adds up to a hidden figure is prevented

- within a row: the difference of two nested counts, like people reached and those of them who engaged, is a cell too;
- among the segments of an attribute, which add up to everyone: what remains of everyone after the shown segments (the
  hidden ones and the people of whom the attribute is unknown) is about nobody or at least k people. Where it is not,
  the smallest segment that is still shown is hidden as well. Where segments overlap, how many people remain is not
  known from the rows: beside a small cell one of at least k people is hidden, whoever else is in it.

What can be computed across days, tables, releases or attributes is not looked at, nor how much an average of k people
or more tells of one of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

PEOPLE = "people"
"""A map<string,bigint> beside the figures: numbers of people that are not figures themselves. It is not published."""
SUPPRESSED = "suppressed_cells"
"""How many figures of the row are hidden; null where nobody looked yet."""


@dataclass(frozen=True)
class Cell:
    """A number of distinct people, as SQL over the row, and the columns that it hides while it is small.

    `told_by` is for a number that is no column: those that it can be computed from while all of them are shown. Where
    one is hidden already, the cell has nothing to hide. By default the first of `hides` tells it.
    """

    people: str
    hides: tuple[str, ...]
    told_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Segments:
    """Rows that add up: those of `<attribute>=<value>` in `column` to that of `whole`, but for unknown values.

    With `overlap` a person may be in several segments of an attribute, whose figures add up all the same.
    """

    by: tuple[str, ...]
    column: str
    whole: str
    overlap: bool = False


@dataclass(frozen=True)
class SmallCells:
    """The cells of a table in the order in which they are looked at, outer counts before the inner ones.

    `maps` are columns of counts by name whose entries are about `people[name]` people each; a hidden entry is null.
    """

    cells: tuple[Cell, ...]
    maps: tuple[str, ...] = ()
    segments: Segments | None = None


def suppressed(exact: DataFrame, small: SmallCells, fewest: int) -> DataFrame:
    """Return the rows with everything hidden that is about 1 to `fewest` - 1 people, without `people`.

    `suppressed_cells` counts what was hidden. Rows that went through here before stay as they are.

    Args:
        exact: rows with every column that the cells name.
        small: the table's cells.
        fewest: people that a figure is about at least; 1 hides nothing.
    """
    if SUPPRESSED not in exact.columns:
        exact = exact.withColumn(SUPPRESSED, F.lit(None).cast("int"))
    flagged, whole = exact, None
    if small.segments:
        attribute = F.substring_index(small.segments.column, "=", 1)
        flagged, whole = flagged.withColumn("__attribute", attribute), small.segments
    for place, cell in enumerate(small.cells):
        is_small = _people(cell).between(1, fewest - 1)
        if cell.told_by:
            is_small &= ~_is_untold(small, place, cell)
        flagged = flagged.withColumn(_flag(place), is_small)
        if whole:
            hidden = _is_untold(small, place + 1, cell)
            following = _next_overlapping if whole.overlap else _next
            flagged = flagged.withColumn(_flag(place), F.col(_flag(place)) | following(cell, hidden, whole, fewest))
    flags = {name: _hides(small, len(small.cells), name) for cell in small.cells for name in cell.hides}
    counts = [(flag & F.col(name).isNotNull()).cast("int") for name, flag in flags.items()]
    shown = {name: F.when(~flag, F.col(name)) for name, flag in flags.items()}
    for name in small.maps:
        counts.append(
            F.when(~flags[name], F.array_size(F.filter(F.map_keys(name), _small_entry(name, fewest)))).otherwise(0)
        )
        shown[name] = F.when(~flags[name], F.transform_values(name, _shown_entry(fewest)))
    found = reduce(lambda total, count: total + F.coalesce(count, F.lit(0)), counts, F.coalesce(SUPPRESSED, F.lit(0)))
    # Counted ahead: beside what is shown, a name within a function over a map would mean what is shown by that name.
    counted = flagged.withColumn(SUPPRESSED, found)
    kept = [name for name in exact.columns if name not in (PEOPLE, SUPPRESSED)]
    return counted.select(*(shown.get(name, F.col(name)).alias(name) for name in kept), SUPPRESSED)


def _flag(place: int) -> str:
    return f"__small_{place}"


def _people(cell: Cell) -> Column:
    return F.coalesce(F.expr(cell.people), F.lit(0))


def _hides(small: SmallCells, before: int, name: str) -> Column:
    """Return whether one of the first `before` cells hides a column."""
    flags = [F.col(_flag(place)) for place, cell in enumerate(small.cells[:before]) if name in cell.hides]
    return reduce(or_, flags, F.lit(False))


def _is_untold(small: SmallCells, before: int, cell: Cell) -> Column:
    """Return whether one of the first `before` cells hides a column that it takes to tell this one."""
    return reduce(or_, (_hides(small, before, name) for name in cell.told_by or cell.hides[:1]))


def _next(cell: Cell, hidden: Column, segments: Segments, fewest: int) -> Column:
    """Return whether a segment has to be hidden too, for what the others leave of everyone would be a small cell."""
    everyone = Window.partitionBy(*segments.by)
    attribute = Window.partitionBy(*segments.by, "__attribute")
    people = _people(cell)
    total = F.max(F.when(F.col(segments.column) == segments.whole, people)).over(everyone)
    told = F.sum(F.when(hidden, 0).otherwise(people)).over(attribute)
    spare = hidden | (people == 0)
    is_smallest = F.row_number().over(attribute.orderBy(spare, people, segments.column)) == 1
    return F.coalesce((total - told).between(1, fewest - 1), F.lit(False)) & is_smallest & ~spare


def _next_overlapping(cell: Cell, hidden: Column, segments: Segments, fewest: int) -> Column:
    """Return whether a segment has to be hidden too, for all that are hidden of its attribute are small cells."""
    attribute = Window.partitionBy(*segments.by, "__attribute")
    people = _people(cell)
    is_small = people.between(1, fewest - 1) & hidden
    is_cover = hidden & (people >= fewest)
    uncovered = (F.max(is_small.cast("int")).over(attribute) == 1) & (F.max(is_cover.cast("int")).over(attribute) == 0)
    unfit = hidden | (people < fewest)
    is_smallest = F.row_number().over(attribute.orderBy(unfit, people, segments.column)) == 1
    return uncovered & is_smallest & ~unfit


def _entry_people(name: Column) -> Column:
    return F.coalesce(F.try_element_at(PEOPLE, name), F.lit(0))


def _small_entry(column: str, fewest: int) -> Callable[[Column], Column]:
    return lambda key: F.try_element_at(column, key).isNotNull() & _entry_people(key).between(1, fewest - 1)


def _shown_entry(fewest: int) -> Callable[[Column, Column], Column]:
    return lambda key, count: F.when(~_entry_people(key).between(1, fewest - 1), count)
