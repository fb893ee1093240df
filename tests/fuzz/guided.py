"""``python -m tests.fuzz.guided KIND``: atheris looks for inputs that reach new lines of a reader.

Atheris has no wheels for every Python, so that the tests do not need it; install it by hand to run this.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

# kinds whose case is one file that one reader takes, and where their sound files are
FILES = {
    "NIfTI, damaged": "nifti",
    "NIfTI packed, damaged": "nifti_packed",
    "transform in HDF5, ours, damaged": "hdf5_ours",
    "transform as text": "itk_text",
    "transform of MATLAB, damaged": "itk_matlab",
    "cohort table": "cohort",
    "label table": "label_table",
    "landmarks": "landmarks",
    "manifest": "json",
    "configuration": "yaml",
}


def main() -> None:
    """Start from the sound files of a kind and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    parser.add_argument("kind", choices=sorted(FILES))
    parser.add_argument("--runs", type=int, default=100_000)
    given = parser.parse_args()
    # imported here: tests that collect every module must be able to import this one without atheris
    try:
        import atheris
    except ImportError:
        sys.exit("tests.fuzz.guided: expected atheris, found none installed (pip install atheris)")
    with atheris.instrument_imports(
        include=["regcore.io", "regcore.study.config", "regcore.study.settings", "nibabel"]
    ):
        from tests.fuzz.guard import Guard
        from tests.fuzz.kinds import kind_named
        from tests.fuzz.seeds import seeds
    kind = kind_named(given.kind)
    name = seeds()[FILES[given.kind]][0][0]
    with tempfile.TemporaryDirectory() as corpus, tempfile.TemporaryDirectory() as scratch:
        for number, (file, content) in enumerate(seeds()[FILES[given.kind]]):
            if file == name:
                (Path(corpus) / str(number)).write_bytes(content)
        for beside, content in kind.beside.items():
            (Path(scratch) / beside).write_bytes(content)
        guard = Guard(Path(scratch), limits=False)
        options = [f"-runs={given.runs}", "-max_len=20000", "-rss_limit_mb=2048", "-timeout=60"]
        atheris.Setup([sys.argv[0], *options, corpus], lambda data: guard.case(data, name, kind.read))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
