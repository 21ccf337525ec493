{{/* Names and labels of all objects. */}}

{{/* The release's name: short, because Strimzi names everything after it. A part of another chart adds its own. */}}
{{- define "kafka.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if .Chart.IsRoot -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "kafka.labels" -}}
app.kubernetes.io/name: kafka
app.kubernetes.io/instance: {{ include "kafka.fullname" . }}
app.kubernetes.io/component: kafka
app.kubernetes.io/part-of: convnet-kafka
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Metadata of an object. Takes (list $ "name"). */}}
{{- define "kafka.metadata" -}}
name: {{ index . 1 }}
namespace: {{ (index . 0).Release.Namespace }}
labels:
  {{- include "kafka.labels" (index . 0) | nindent 2 }}
{{- end -}}

{{/* Annotations of what holds data. */}}
{{- define "kafka.keep" -}}
{{- if .Values.keep -}}
annotations:
  helm.sh/resource-policy: keep
{{- end -}}
{{- end -}}
