{{/* Names and labels of all objects. */}}

{{/* The release's name: short, because every object has it. A part of another chart adds its own, as that chart has objects too. */}}
{{- define "convnet-kafka.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if .Chart.IsRoot -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select a part's pods; they never change. Takes (list $ "server"). */}}
{{- define "convnet-kafka.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: convnet-kafka
app.kubernetes.io/instance: {{ include "convnet-kafka.fullname" $root }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of an object of a part. Takes (list $ "server"). */}}
{{- define "convnet-kafka.labels" -}}
{{- $root := index . 0 -}}
{{ include "convnet-kafka.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: convnet-kafka
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Metadata of an object. Takes (list $ "server" "name"). */}}
{{- define "convnet-kafka.metadata" -}}
{{- $root := index . 0 -}}
name: {{ index . 2 }}
namespace: {{ $root.Release.Namespace }}
{{ include "convnet-kafka.labelled" . }}
{{- end -}}

{{/* Labels of an object, under their key. Takes (list $ "server"). */}}
{{- define "convnet-kafka.labelled" -}}
labels:
  {{- include "convnet-kafka.labels" (list (index . 0) (index . 1)) | nindent 2 }}
{{- end -}}

{{/* An image. Takes (list $ .Values.server.image). */}}
{{- define "convnet-kafka.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- with $root.Values.images.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest -}}
@{{ $image.digest }}
{{- else -}}
:{{ $image.tag | default $root.Values.images.tag | default $root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* Name of a part's ServiceAccount. Takes (list $ "server" .Values.server.serviceAccount). */}}
{{- define "convnet-kafka.serviceAccountName" -}}
{{- $account := index . 2 -}}
{{- if $account.create -}}
{{- $account.name | default (printf "%s-%s" (include "convnet-kafka.fullname" (index . 0)) (index . 1)) -}}
{{- else -}}
{{- $account.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* A part's ServiceAccount as an object. Takes (list $ "server" .Values.server.serviceAccount). */}}
{{- define "convnet-kafka.serviceAccount" -}}
{{- $root := index . 0 -}}
{{- $account := index . 2 -}}
{{- if $account.create }}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "convnet-kafka.metadata" (list $root (index . 1) (include "convnet-kafka.serviceAccountName" .)) | nindent 2 }}
  {{- with $account.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}
{{- end -}}
