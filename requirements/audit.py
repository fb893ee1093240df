"""Ask for known vulnerabilities of the locked packages; without a network say so and go on."""

from __future__ import annotations

import json
import subprocess
import sys

UNREACHABLE = ("ConnectionError", "ServiceError", "Max retries", "timed out", "Temporary failure")


def main(lock: str) -> int:
    """Print what is known of the packages of a lock file; 1 if any of them is vulnerable."""
    command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--format", "json"]
    done = subprocess.run(  # noqa: S603 - our own interpreter, a file of the repository, no shell
        [*command, "--progress-spinner", "off", "--requirement", lock],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(done.stderr[-2000:], file=sys.stderr)
        if any(sign in done.stderr for sign in UNREACHABLE):
            print("pip-audit: skipped, the list of vulnerabilities cannot be reached from here")
            return 0
        return 1
    known = [package for package in packages if "vulns" in package]
    if not known:
        print(f"pip-audit: skipped, what is reached from here knows none of the {len(packages)} packages")
        return 0
    bad = [package for package in known if package["vulns"]]
    for package in bad:
        for found in package["vulns"]:
            fixed = ", ".join(found.get("fix_versions", [])) or "no version yet"
            print(f"{package['name']} {package['version']}: {found['id']}, mended in {fixed}")
    print(f"pip-audit: {len(known)} of {len(packages)} packages looked up, {len(bad)} vulnerable")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
