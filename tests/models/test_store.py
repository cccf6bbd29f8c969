import shutil
from pathlib import Path

import pytest
from chispa import assert_df_equality

from salience.errors import InputError
from salience.models.store import ModelStore
from salience.tables.releases import SavedModel

pytestmark = pytest.mark.integration


@pytest.fixture
def saved(spark, tmp_path):
    frames = {
        "users": spark.createDataFrame([("u", [1.0, 2.0])], "user_id string, features array<float>"),
        "items": spark.createDataFrame([("c", [0.5, 0.25])], "content_id string, features array<float>"),
    }
    store = ModelStore(spark, str(tmp_path / "models"), "run 1")
    return store, frames, store.save("2026-11-10.1", "als/feed", frames, {"cut": "2026-11-11", "alpha": 1.5})


def test_a_model_comes_back_as_it_was_saved(saved, tmp_path):
    store, frames, model = saved
    assert model.path == str(tmp_path / "models/2026-11-10.1/als/feed/run 1")
    loaded = store.load(model)
    solver = loaded.manifest["blas"]
    assert loaded.manifest == {"alpha": 1.5, "cut": "2026-11-11", "frames": ["items", "users"], "blas": solver}
    assert solver.endswith("BLAS")
    for name, frame in frames.items():
        assert_df_equality(loaded.frames[name], frame, ignore_nullable=True)


def test_a_model_that_is_saved_again_keeps_what_solved_it(saved):
    store, frames, model = saved
    solved_elsewhere = dict(store.load(model).manifest) | {"blas": "AnotherBLAS"}
    again = store.save("2026-11-10.1", "als/video", frames, solved_elsewhere)
    assert store.load(again).manifest == solved_elsewhere


def test_a_model_whose_files_changed_is_refused(saved):
    store, frames, model = saved
    frames["users"].limit(0).write.mode("append").parquet(f"{model.path}/users")
    with pytest.raises(InputError, match="its files changed since it was saved; train it again"):
        store.load(model)


def test_a_model_with_an_exchanged_manifest_is_refused(saved):
    store, _, model = saved
    (file,) = Path(model.path, "manifest").glob("part-*")
    file.write_text(file.read_text().replace("1.5", "9.5"))
    Path(model.path, "manifest", f".{file.name}.crc").unlink()
    with pytest.raises(InputError, match="its files changed"):
        store.load(model)


def test_a_model_keeps_its_hash_when_the_warehouse_moves(saved, tmp_path):
    store, _, model = saved
    moved = shutil.move(tmp_path / "models", tmp_path / "elsewhere")
    path = f"{moved}/2026-11-10.1/als/feed/run 1"
    assert store.load(SavedModel(path, model.hash)).manifest["alpha"] == 1.5


def test_a_run_that_saves_again_or_dies_over_it_spoils_no_other_runs_model(spark, saved, tmp_path):
    store, frames, model = saved
    later = ModelStore(spark, str(tmp_path / "models"), "run 2")
    again = later.save("2026-11-10.1", "als/feed", {"items": frames["items"]}, {"alpha": 2.0})
    assert later.load(again).manifest["alpha"] == 2.0
    assert (store.load(model).manifest["alpha"], store.is_intact(model)) == (1.5, True)
