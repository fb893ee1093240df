"""Make the demo folder, or compare its results with the truth."""

import argparse
import sys
from pathlib import Path

from regcore.demo import compare_with_truth, make_demo
from regcore.errors import InputError


def main() -> int:
    """Run ``make`` or ``compare``; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m regcore.demo", description=__doc__)
    parser.add_argument("action", choices=("make", "compare"))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    try:
        if arguments.action == "compare":
            print(compare_with_truth(arguments.folder))
        elif (arguments.folder / "config.yaml").exists():
            print(f"{arguments.folder}: the demo cohort is there already")
        else:
            print(f"{arguments.folder}: making eight subjects with known truth", flush=True)
            make_demo(arguments.folder)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
