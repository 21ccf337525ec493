{{/* Traces: what OpenTelemetry reads from the environment (docs/tracing.md). */}}

{{/* What leads the public to the servers, as JSON. */}}
{{- define "convnet-kafka.publicWays" -}}
{{- $public := list -}}
{{- if .Values.ingress.enabled }}{{ $public = append $public "ingress.enabled" }}{{ end -}}
{{- if .Values.gateway.enabled }}{{ $public = append $public "gateway.enabled" }}{{ end -}}
{{- if ne .Values.server.service.type "ClusterIP" }}{{ $public = append $public (printf "server.service.type=%s" .Values.server.service.type) }}{{ end -}}
{{- toJson $public -}}
{{- end -}}

{{- define "convnet-kafka.tracingEnv" -}}
{{- with .Values.tracing.endpoint }}
- name: OTEL_TRACES_EXPORTER
  value: otlp
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ $.Values.tracing.ratio | toJson | quote }}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ printf "k8s.namespace.name=%s,k8s.pod.name=$(POD_NAME),service.namespace=%s" $.Release.Namespace (include "convnet-kafka.fullname" $) | quote }}
- name: CONVNET_TRACING_IMAGES
  value: {{ $.Values.tracing.images | int64 | quote }}
- name: CONVNET_TRACING_PUBLIC_ENDPOINT
  {{- if kindIs "invalid" $.Values.tracing.publicEndpoint }}
  value: {{ include "convnet-kafka.publicWays" $ | fromJsonArray | empty | not | quote }}
  {{- else }}
  value: {{ $.Values.tracing.publicEndpoint | quote }}
  {{- end }}
{{- end }}
{{- end -}}
