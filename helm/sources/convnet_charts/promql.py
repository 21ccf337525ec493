"""Small pieces of PromQL that rules and dashboards share: which series are ours, and by what they are summed.

The placeholders stand for a release's own values; whoever reads the rules or dashboards into a cluster replaces them.
"""

from __future__ import annotations

from dataclasses import dataclass

NAMESPACE = "__namespace__"
RELEASE = "__release__"
# What `release` is on the brokers' series: the name of the Kafka cluster.
KAFKA = "__kafka__"
# Where the runbooks lie, without the last slash.
RUNBOOKS = "__runbooks__"


# How a matcher compares, by the ending of its argument's name.
_COMPARE = {"": "=", "not": "!=", "re": "=~", "notre": "!~"}


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose series are meant.

    Attributes:
        matchers: label matchers that select them, in PromQL.
    """

    matchers: str

    def __call__(self, metric: str, **labels: str) -> str:
        """A selector of one metric.

        Args:
            metric: its name.
            labels: what its labels must be. `lane="bulk"` compares for equality; the endings `__not`, `__re` and `__notre` of an argument's
                name stand for `!=`, `=~` and `!~`.
        """
        further = []
        for name, value in labels.items():
            label, _, how = name.partition("__")
            further.append(f'{label}{_COMPARE[how]}"{value}"')
        return f"{metric}{{{', '.join((self.matchers, *further))}}}"


# In rules: the services of one release, its Kafka cluster, and whatever else is known of its namespace.
SERVICES = Scope(f'namespace="{NAMESPACE}", release="{RELEASE}"')
BROKERS = Scope(f'namespace="{NAMESPACE}", release="{KAFKA}", component="kafka"')
WITHIN_NAMESPACE = Scope(f'namespace="{NAMESPACE}"')


def by(*labels: str) -> str:
    """The clause that keeps a release's results apart from another's, and further labels."""
    return f"by ({', '.join(('namespace', 'release', *labels))})"


def ratio(part: str, whole: str) -> str:
    """A share, 0 while there is a whole and no part: a series of what goes wrong is absent until it has gone wrong once."""
    return f"({part} or 0 * {whole}) / {whole}"
