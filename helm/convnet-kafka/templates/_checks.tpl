{{/* Combinations of values that cannot work, or lose something: refused with a sentence that says what to do. */}}

{{- define "convnet-kafka.checks" -}}
{{- include "convnet-kafka.checks.kafka" . -}}
{{- end -}}

{{- define "convnet-kafka.checks.kafka" -}}
{{- $kafka := .Values.kafka -}}
{{- $chosen := 0 -}}
{{- range list $kafka.bootstrapServers $kafka.strimzi.cluster $kafka.embedded.enabled }}{{ if . }}{{ $chosen = add1 $chosen }}{{ end }}{{ end -}}
{{- if ne (int $chosen) 1 -}}
{{- fail (printf "\n\nWhich Kafka? %d are named, one is needed. Set exactly one of kafka.strimzi.cluster (a Kafka of Strimzi in this namespace), kafka.bootstrapServers (any other), or kafka.embedded.enabled=true (one broker to try things, not for production)." (int $chosen)) -}}
{{- end -}}
{{- end -}}
