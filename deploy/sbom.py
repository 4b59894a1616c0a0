"""Write an SBOM (CycloneDX 1.6, JSON) of sockmon and all packages that are installed with it.

python deploy/sbom.py DIRECTORY    # of this Python's environment; prints the file's path
Sources: CycloneDX 1.6 JSON reference; PEP 639 (License-Expression); purl-spec, pypi.
"""  # noqa: INP001 - a script, not a package

import json
import re
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = "sockmon[terminal]"


def main() -> None:
    """Write the file."""
    needs: dict[str, set[str]] = {}
    walk(Requirement(ROOT), needs, set())
    refs = {name: purl(name) for name in sorted(needs)}
    root = component("sockmon") | {"type": "application"}
    sbom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": [component(name) for name in refs if name != "sockmon"],
        "dependencies": [
            {"ref": ref, "dependsOn": [refs[need] for need in sorted(needs[name])]}
            for name, ref in refs.items()
        ],
    }
    path = Path(sys.argv[1], f"sockmon-{root['version']}.cdx.json")
    path.write_text(json.dumps(sbom, indent=2) + "\n")
    print(path)  # noqa: T201 - the result


def walk(requirement: Requirement, needs: dict[str, set[str]], seen: set[tuple[str, str]]) -> None:
    """Add to `needs` which packages each package needs, from the requirement on."""
    name = canonical(requirement.name)
    for extra in requirement.extras | {""}:
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        needs.setdefault(name, set())
        for need in map(Requirement, distribution(name).requires or ()):
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                needs[name].add(canonical(need.name))
                walk(need, needs, seen)


def component(name: str) -> dict[str, Any]:
    """Return the package as a CycloneDX component."""
    metadata = distribution(name).metadata
    licences = [{"expression": metadata["License-Expression"]}]
    if not licences[0]["expression"]:
        classifiers = metadata.get_all("Classifier") or []
        names = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License")]
        licences = [{"license": {"name": text}} for text in names or [metadata["License"]]]
    return {
        "type": "library",
        "bom-ref": purl(name),
        "name": name,
        "version": distribution(name).version,
        "purl": purl(name),
        "licenses": licences,
    }


def purl(name: str) -> str:
    """Return the package URL."""
    return f"pkg:pypi/{name}@{distribution(name).version}"


def canonical(name: str) -> str:
    """Return the name as PyPI compares names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
