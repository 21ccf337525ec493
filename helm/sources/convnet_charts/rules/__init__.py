"""Recording rules and alerts of the charts: plain Prometheus rule files, with placeholders that the chart's template fills in."""
