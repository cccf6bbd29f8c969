"""OpenBLAS for MLlib's linear algebra, put together from wheels: nothing is installed on the machine.

Spark looks for libblas.so.3 and liblapack.so.3. The wheel of `cmeel-openblas` has both in one library, and needs the
Fortran runtime that NumPy's wheel brings.
"""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

_WHEEL = "cmeel-openblas==0.3.31"
_LIBRARY = "cmeel.prefix/lib/libopenblas.so.0"
_NAMES = ("libblas.so.3", "liblapack.so.3")


def native_blas(folder: Path) -> Path | None:
    """Return a folder for LD_LIBRARY_PATH; None, and say why, where the wheels are not for this machine."""
    libraries = folder / "lib"
    libraries.mkdir(parents=True, exist_ok=True)
    runtime = Path(np.__file__).parent.parent / "numpy.libs"
    fortran = sorted(runtime.glob("libgfortran-*.so.5*"))
    if not fortran:
        print("native BLAS is left out: NumPy brings no libgfortran here", flush=True)
        return None
    try:
        wheel = _downloaded(folder)
    except subprocess.CalledProcessError:
        print(f"native BLAS is left out: there is no wheel of {_WHEEL} for this machine", flush=True)
        return None
    with zipfile.ZipFile(wheel) as opened:
        opened.extract(_LIBRARY, folder)
    links = dict.fromkeys(_NAMES, folder / _LIBRARY) | {"libgfortran.so.5": fortran[0]}
    links |= {file.name: file for file in runtime.glob("libquadmath-*")}
    for name, file in links.items():
        (libraries / name).unlink(missing_ok=True)
        (libraries / name).symlink_to(file)
    return libraries


def _downloaded(folder: Path) -> Path:
    wheels = list(folder.glob("cmeel_openblas-*.whl"))
    if not wheels:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "--dest", str(folder), "--disable-pip-version-check", _WHEEL], check=True)
        wheels = list(folder.glob("cmeel_openblas-*.whl"))
    return wheels[0]
