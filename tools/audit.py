#!/usr/bin/env python3
"""Ask PyPI's advisory database about every line of the lock files: `make audit`.

Exits with 1 when a locked version has a known vulnerability. An index that mirrors PyPI has no advisories, and some machines reach
nothing else; then this says that nothing was audited and exits with 0, unless TRANSHIP_REQUIRE_AUDIT is set, as for a release.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any


def main(files: list[str]) -> int:
    command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--progress-spinner", "off"]
    command += ["--format", "json", *(word for file in files for word in ("--requirement", file))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:  # it has ended before it had anything to say
        found = []
    audited = {one["name"]: one for one in found if "skip_reason" not in one}
    skipped = {one["name"] for one in found} - audited.keys()
    if not audited:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        reason = f"it knows none of {len(skipped)}" if found else "".join(last)[:300]
        print(
            f"NOTHING WAS AUDITED: the advisory database cannot be reached from here ({reason[:300]})", file=sys.stderr
        )
        return 1 if os.environ.get("TRANSHIP_REQUIRE_AUDIT") else 0
    vulnerable = [(one, flaw) for one in audited.values() for flaw in one["vulns"]]
    for one, flaw in vulnerable:
        print(
            f"{one['name']} {one['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version'}"
        )
    print(
        f"{len(audited)} dependencies audited, {len(skipped)} unknown to the database, {len(vulnerable)} vulnerabilities"
    )
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
