"""`make generate`: writes every generated file of the charts, or with `--check` says which differ. The one list of them.

A generated file is committed; a test runs the check. Each part adds its files to `FILES`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from convnet_charts import metrics_page
from convnet_charts.dashboards import files as dashboards_files
from convnet_charts.rules import files as rules_files
from convnet_charts.values import files as values_files

ROOT = Path(__file__).parents[3]

# Path below the repository's root -> what makes its text.
FILES: Mapping[str, Callable[[], str]] = MappingProxyType(
    {**values_files.FILES, **dashboards_files.FILES, **rules_files.FILES, **metrics_page.FILES}
)


def different() -> list[str]:
    """Paths of generated files that are missing or are not what would be written now."""
    return [path for path, make in FILES.items() if not (ROOT / path).is_file() or (ROOT / path).read_text("utf-8") != make()]


def main() -> int:
    """Write what differs; with `--check` only name it, and end with 1."""
    found = different()
    check = "--check" in sys.argv[1:]
    for path in found:
        sys.stdout.write(f"{'differs' if check else 'written'}: {path}\n")
        if not check:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(FILES[path](), "utf-8")
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main())
