{{/*
Paths that lead to the servers from outside: a list of what is let through, as JSON, because /metrics and the probes must not be.
The server's routes are in services/convnet_kafka/server; a test compares.
*/}}
{{- define "convnet-kafka.publicPaths" -}}
{{- $paths := list (dict "path" "/v1" "kind" "prefix") (dict "path" "/problems" "kind" "prefix") -}}
{{- if .Values.public.page -}}
{{- $paths = concat $paths (list
  (dict "path" "/" "kind" "exact")
  (dict "path" "/web" "kind" "prefix")
  (dict "path" "/docs" "kind" "exact")
  (dict "path" "/openapi.json" "kind" "exact")
) -}}
{{- end -}}
{{- toJson $paths -}}
{{- end -}}
