"""Grafana's dashboards of the chart, made with Grafana's own SDK. One module a dashboard; `board.py` has what they share."""
