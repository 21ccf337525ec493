"""Values of labels, as `messages.py` and `server/outcome.py` have them; a test holds them together. And buckets that several share."""

from __future__ import annotations

LANES = ("bulk", "fast")
# What is not of a lane, in metrics of HTTP.
NO_LANE = "none"
FAILURES = ("undecodable", "too-large", "unsupported", "model-error", "quarantined", "cancelled")
LABELLED = "labelled"
REFUSALS = ("unsupported", "too-large", "empty", "bad-name", "not-a-file", "damaged")

# A person waits at the lower end, a job of a million images at the upper; the objectives (1 s, 5 min) are bounds among them.
WAITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400)
REQUESTS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
ACKNOWLEDGEMENTS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
