{{/* What several templates must know of the classifiers. */}}

{{/* Seconds from SIGTERM to SIGKILL: what the service takes at most, and some. */}}
{{- define "convnet-kafka.classifier.gracePeriod" -}}
{{- $timeout := 20.0 -}}
{{- with .Values.classifier.settings.drainTimeoutS }}{{ $timeout = float64 . }}{{ end -}}
{{- ceil (addf $timeout 15.0) | int -}}
{{- end -}}
