"""What `helm test` runs: sends the pictures beside it through both lanes, and ends with 0 only when all that should come back has come.

Runs in the client's image, from a ConfigMap. A picture's name begins with its digit.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from convnet_kafka.client import Label, SyncClient

FOLDER = Path(__file__).parent / "pictures"
# Of the right labels: a small network on small pictures errs now and then (17 of 20 after five epochs), a wrong one nearly always.
RIGHT = 0.75


def faults(lane: str, labels: list[Label], pictures: int, *, digits: bool) -> list[str]:
    """What is wrong with the results of one lane, in sentences."""
    found = [f"{lane}: {each.name} has no label: {each.error} ({each.detail})" for each in labels if each.label is None]
    if len({each.name for each in labels}) != pictures or len(labels) != pictures:
        found.append(f"{lane}: {len(labels)} results for {pictures} pictures")
    right = sum(each.label == each.name[0] for each in labels)
    if digits and right < RIGHT * pictures:
        found.append(f"{lane}: {right} of {pictures} digits are right")
    sys.stdout.write(f"{lane}: {len(labels)} results for {pictures} pictures{f', {right} digits are right' if digits else ''}\n")
    return found


def main() -> int:
    """Send, compare, and say what is wrong."""
    key_file = os.environ.get("CONVNET_API_KEY_FILE")
    key = Path(key_file).read_text("utf-8").strip() if key_file else None
    digits = os.environ["EXPECT"] == "digits"
    deadline_s = float(os.environ["DEADLINE_S"])
    pictures = sorted(FOLDER.glob("*.png"))
    with SyncClient(os.environ["SERVER_URL"], key=key) as client:
        bulk = list(client.classify(pictures, timeout=deadline_s))
        fast = client.classify_now(pictures, timeout=deadline_s)
    found = faults("bulk lane", bulk, len(pictures), digits=digits) + faults("fast lane", fast, len(pictures), digits=digits)
    for sentence in found:
        sys.stderr.write(sentence + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
