{{/* What several templates must know of the classifiers. */}}

{{/* Seconds from SIGTERM to SIGKILL: what the service takes at most, and some. */}}
{{- define "convnet-kafka.classifier.gracePeriod" -}}
{{- $timeout := 20.0 -}}
{{- with .Values.classifier.settings.drainTimeoutS }}{{ $timeout = float64 . }}{{ end -}}
{{- ceil (addf $timeout 15.0) | int -}}
{{- end -}}

{{/* Most classifiers that these values allow; what `kubectl scale` says is not known here. */}}
{{- define "convnet-kafka.classifier.most" -}}
{{- if ne .Values.classifier.autoscaling.mode "none" -}}
{{- int .Values.classifier.autoscaling.maxReplicas -}}
{{- else if kindIs "invalid" .Values.classifier.replicas -}}1
{{- else -}}
{{- int .Values.classifier.replicas -}}
{{- end -}}
{{- end -}}
