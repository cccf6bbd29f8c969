import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import salience

PACKAGE = Path(salience.__file__).parent


def version(place):
    code = f"import sys; sys.path.insert(0, {str(place)!r}); import salience; print(salience.code_version())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_a_code_version_is_the_same_in_a_folder_and_in_a_wheel_and_another_once_a_file_changes(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(PACKAGE, copy / "salience", ignore=shutil.ignore_patterns("__pycache__"))
    wheel = tmp_path / "salience.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in copy.rglob("*.py"):
            archive.write(file, file.relative_to(copy))
    told = version(copy)
    assert re.fullmatch(rf"{re.escape(salience.__version__)}\+[0-9a-f]{{12}}", told)
    assert version(wheel) == told == salience.code_version()
    with (copy / "salience" / "errors.py").open("a") as file:
        file.write("# changed\n")
    assert version(copy) != told
