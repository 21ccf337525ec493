{{/* Autoscalers and disruption budgets, the same for servers and classifiers. */}}

{{/* CPU as a metric of an HPA, where it counts. Takes .Values.server.autoscaling. */}}
{{- define "convnet-kafka.hpaMetrics" -}}
{{- with .cpuUtilization }}
- type: Resource
  resource:
    name: cpu
    target:
      type: Utilization
      averageUtilization: {{ int . }}
{{- end }}
{{- with .metrics }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Takes (list $ "server" .Values.server). */}}
{{- define "convnet-kafka.hpa" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $scaling := (index . 2).autoscaling -}}
{{- $name := printf "%s-%s" (include "convnet-kafka.fullname" $root) $component -}}
{{- if eq $scaling.mode "hpa" }}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "convnet-kafka.metadata" (list $root $component $name) | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ $name }}
  minReplicas: {{ int $scaling.minReplicas }}
  maxReplicas: {{ int $scaling.maxReplicas }}
  metrics:
    {{- include "convnet-kafka.hpaMetrics" $scaling | trim | nindent 4 }}
  behavior:
    {{- toYaml $scaling.behavior | nindent 4 }}
{{- end }}
{{- end -}}

{{/* Takes (list $ "server" .Values.server). */}}
{{- define "convnet-kafka.disruptionBudget" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $budget := (index . 2).disruptionBudget -}}
{{- if $budget.enabled }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "convnet-kafka.metadata" (list $root $component (printf "%s-%s" (include "convnet-kafka.fullname" $root) $component)) | nindent 2 }}
spec:
  {{- if not (kindIs "invalid" $budget.minAvailable) }}
  minAvailable: {{ include "convnet-kafka.count" $budget.minAvailable }}
  {{- else }}
  maxUnavailable: {{ include "convnet-kafka.count" $budget.maxUnavailable }}
  {{- end }}
  # A pod that does not work protects nothing, and must not keep a node from being drained.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "convnet-kafka.selector" (list $root $component) | nindent 6 }}
{{- end }}
{{- end -}}

{{/* A number, or a percentage in quotes. */}}
{{- define "convnet-kafka.count" -}}
{{- if kindIs "string" . }}{{ . | quote }}{{ else }}{{ int . }}{{ end -}}
{{- end -}}
