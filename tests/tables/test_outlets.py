import importlib.util
from pathlib import Path

from salience.tables.catalog import TABLES
from salience.tables.contract import Kind

OUTLETS = Path(__file__).parents[2] / "airflow_dags" / "outlets.py"


def test_every_table_but_the_ledgers_is_an_asset_of_the_job_that_makes_it():
    spec = importlib.util.spec_from_file_location("outlets", OUTLETS)
    outlets = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(outlets)
    found = {True: {}, False: {}}
    for table in TABLES:
        if table.kind is not Kind.LEDGER:
            found[table.kind is Kind.SNAPSHOT].setdefault(table.made_by, []).append(str(table))
    assert {job: [*tables] for job, tables in outlets.WHEN_PUBLISHED.items()} == found[True]
    assert {job: [*tables] for job, tables in outlets.AT_ONCE.items()} == found[False]
