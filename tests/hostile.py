"""A platform whose files can be anything, and a run over them."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import clean_interactions
from salience.job import run_job
from salience.tables import bronze, ops, silver
from salience.tables.warehouse import Warehouse
from tests.conftest import CONF

MAPPING = {
    "platform": "hostile",
    "interactions": {
        "raw": {
            **dict.fromkeys(("id", "who", "body", "act", "at", "gadget"), "string"),
            **dict.fromkeys(("money", "score", "watched", "chance"), "double"),
            "ctx": "struct<page: string, slot: int>",
        },
        "columns": {
            "event_id": "id",
            "raw_user_id": "who",
            "content_id": "get_json_object(body, '$.item')",
            "value": "money",
            "rating": "score",
            "dwell_s": "watched",
            "propensity": "chance",
            "device": "gadget",
            "request_id": "ctx.page",
            "position": "ctx.slot",
        },
        "action": {"from": "act", "values": {"like": "like", "share": "share"}},
        "event_time": {"from": "at", "unit": "iso8601"},
    },
}
TYPES = {
    **dict.fromkeys(("id", "who", "body", "act", "at", "gadget"), pa.string()),
    **dict.fromkeys(("money", "score", "watched", "chance"), pa.float64()),
    "ctx": pa.struct({"page": pa.string(), "slot": pa.int32()}),
}


def event(name, day, **changes):
    """Return a raw event of ten o'clock; its id begins with its delivery's day."""
    usual = {"id": f"{day} {name}", "who": f"who-{name}", "body": '{"item": "p1"}', "act": "like"}
    usual |= {"at": f"{day}T10:00:00Z", "ctx": {"page": "r1", "slot": 1}}
    return dict.fromkeys(TYPES) | usual | changes


def table(rows):
    return pa.Table.from_pylist(rows, schema=pa.schema(list(TYPES.items())))


def deliver(logs, day, *contents):
    folder = logs / "hostile" / "interactions" / f"dt={day}"
    folder.mkdir(parents=True)
    for n, content in enumerate(contents):
        file = folder / f"part-{n}.parquet"
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            pq.write_table(content if isinstance(content, pa.Table) else table(content), file)
    (folder / "_SUCCESS").touch()
    return folder


@dataclass(frozen=True)
class Found:
    """What a run left of each delivery."""

    code: int
    logs: Path
    ledger: dict
    audits: list
    bronze_rows: dict
    rejected: dict
    excluded: dict
    accepted: dict

    def rows_in_files(self, day):
        folder = self.logs / "hostile" / "interactions" / f"dt={day}"
        return sum(pq.read_metadata(file).num_rows for file in folder.glob("*.parquet"))

    def lost(self, day):
        """Return the rows of a taken delivery that no table of silver accounts for."""
        tables = (self.rejected, self.excluded, self.accepted)
        return self.rows_in_files(day) - sum(len(table.get(day, [])) for table in tables)


@dataclass(frozen=True)
class Lab:
    """A folder with settings, logs and tables of its own."""

    root: Path
    spark: object

    @property
    def logs(self):
        return self.root / "logs"

    def clean(self, first, last, *more):
        """Clean these days and return what every table says of each."""
        conf = self.root / "conf"
        if not conf.exists():
            shutil.copytree(CONF, conf)
            (conf / "sources" / "hostile.yaml").write_text(yaml.safe_dump(MAPPING))
        argv = ["--env", "local", "--from", str(first), "--to", str(last), "--set", "platforms=[hostile]"]
        argv += ["--set", f"logs={self.logs}", "--set", f"warehouse={self.root / 'warehouse'}", *more]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SALIENCE_CONF_DIR", str(conf))
            code = run_job(clean_interactions.main, argv)
        tables = Warehouse(self.spark, str(self.root / "warehouse"), run_id="test")

        def by_day(wanted, *columns):
            found = {}
            for day, *values in tables.read(wanted).select("delivery_date", *columns).collect():
                found.setdefault(day, []).append(values[0] if len(values) == 1 else tuple(values))
            return found

        ledger = {row["delivery_date"]: row for row in tables.read(ops.DELIVERIES).collect()}
        audits = [(row["rule"], row["place"]) for row in tables.read(ops.AUDITS).collect()]
        counted = tables.read(bronze.EVENTS).groupBy("delivery_date").count().collect()
        return Found(
            code,
            self.logs,
            ledger,
            audits,
            dict(map(tuple, counted)),
            by_day(silver.REJECTED_EVENTS, "event_id", "reasons"),
            by_day(silver.EXCLUDED_EVENTS, "event_id"),
            by_day(silver.INTERACTIONS, "event_id"),
        )
