"""What generates files of the charts: values, schemas, documents, dashboards, rules. For developing; no service imports it."""
