"""The values of the charts as pydantic models: the one source of values.yaml, values.schema.json and the charts' README.md."""
