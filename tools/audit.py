#!/usr/bin/env python3
"""Ask an advisory database about every line of the lock files: `make audit`. PyPI's is asked first, then OSV's.

Exits with 1 when a locked version has a known vulnerability. An index that mirrors PyPI has no advisories, and some machines reach
nothing else; then this says that nothing was audited and exits with 0, unless TRANSHIP_REQUIRE_AUDIT is set, as for a release.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

SERVICES = {"pypi": "PyPI", "osv": "OSV"}
PATIENCE = 300  # seconds for each


def main(files: list[str]) -> int:
    reasons = []
    for service, name in SERVICES.items():
        found, reason = ask(service, files)
        audited = [one for one in found if "skip_reason" not in one]
        if audited:
            return tell(name, audited, len(found) - len(audited))
        reasons.append(f"{name}: {f'knows none of {len(found)}' if found else reason}")
    print(f"NOTHING WAS AUDITED: no advisory database can be reached from here ({'; '.join(reasons)})", file=sys.stderr)
    return 1 if os.environ.get("TRANSHIP_REQUIRE_AUDIT") else 0


def ask(service: str, files: list[str]) -> tuple[list[dict[str, Any]], str]:
    """What a database says of each dependency, each once; nothing and the reason where it did not answer."""
    command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--progress-spinner", "off"]
    command += ["--vulnerability-service", service, "--format", "json"]
    command += [word for file in files for word in ("--requirement", file)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
        every: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return [], f"no answer in {PATIENCE} s"
    except ValueError:  # it has ended before it had anything to say
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        return [], "".join(last)[:200]
    return list({one["name"]: one for one in every}.values()), ""


def tell(database: str, audited: list[dict[str, Any]], unknown: int) -> int:
    vulnerable = [(one, flaw) for one in audited for flaw in one["vulns"]]
    for one, flaw in vulnerable:
        mended = ", ".join(flaw["fix_versions"]) or "no version"
        print(f"{one['name']} {one['version']}: {flaw['id']}, mended in {mended}")
    print(
        f"{len(audited)} dependencies audited by {database}, {unknown} unknown to it, {len(vulnerable)} vulnerabilities"
    )
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
