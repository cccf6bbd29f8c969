from salience.tables import catalog, recommendations, silver
from salience.tables.contract import Column
from salience.tables.erasing import names_people, tables_of_people

PUBLIC = [table for table in catalog.TABLES if table.layer in ("silver", "gold")]


def test_every_column_that_speaks_of_a_pseudonym_or_of_creators_is_known_by_its_name():
    speaking = {
        (str(table), column.name)
        for table in PUBLIC
        for column in table.columns
        if "pseudonym" in column.comment or "creators" in column.comment
    }
    known = {(str(table), column.name) for table in PUBLIC for column in filter(names_people, table.columns)}
    assert speaking == known
    assert ("gold.user_profiles", "favourite_creators") in known


def test_every_table_with_people_can_be_swept_by_platform_but_for_the_one_that_keeps_the_erased():
    tables = tables_of_people()
    expected = (silver.INTERACTIONS, silver.ASSIGNMENTS, silver.BLOCKLIST, recommendations.SHORTFALLS)
    assert silver.ERASURES not in tables and all(table in tables for table in expected)
    assert all("platform" in {column.name for column in table.columns} for table in tables)


def test_names_that_only_look_like_those_of_people_are_none():
    assert names_people(Column("similar_user_id", "string", ""))
    for name, type_ in (("users", "bigint"), ("user_identity", "string"), ("content_id", "string")):
        assert not names_people(Column(name, type_, ""))
