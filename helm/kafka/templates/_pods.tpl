{{/* What the pods have in common that Strimzi makes. */}}

{{/* As the Pod Security Standard `restricted` asks, whatever the operator is set to. */}}
{{- define "kafka.podSecurity" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "kafka.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Pod of a part that holds no data. */}}
{{- define "kafka.smallPod" -}}
securityContext:
  {{- include "kafka.podSecurity" . | nindent 2 }}
{{- with include "kafka.pullSecrets" . }}
{{ . }}
{{- end }}
{{- end -}}

{{- define "kafka.pullSecrets" -}}
{{- with .Values.imagePullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Affinity of a pool's pods. Takes (list $ .Values.brokers). */}}
{{- define "kafka.affinity" -}}
{{- $pool := index . 1 -}}
{{- if $pool.nodeSelector }}
nodeAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    nodeSelectorTerms:
      - matchExpressions:
          {{- range $key, $value := $pool.nodeSelector }}
          - {key: {{ $key }}, operator: In, values: [{{ $value | quote }}]}
          {{- end }}
{{- end }}
{{- if ne $pool.antiAffinity "none" }}
{{- $term := printf "{labelSelector: {matchLabels: {strimzi.io/cluster: %s, strimzi.io/pool-name: %s}}, topologyKey: kubernetes.io/hostname}" (include "kafka.fullname" (index . 0)) $pool.pool }}
podAntiAffinity:
  {{- if eq $pool.antiAffinity "hard" }}
  requiredDuringSchedulingIgnoredDuringExecution:
    - {{ $term }}
  {{- else }}
  preferredDuringSchedulingIgnoredDuringExecution:
    - {weight: 100, podAffinityTerm: {{ $term }}}
  {{- end }}
{{- end }}
{{- end -}}

{{/* A KafkaNodePool. Takes (list $ .Values.brokers (list "broker" "controller")). */}}
{{- define "kafka.pool" -}}
{{- $root := index . 0 -}}
{{- $pool := index . 1 -}}
apiVersion: kafka.strimzi.io/v1
kind: KafkaNodePool
metadata:
  {{- include "kafka.metadata" (list $root $pool.pool) | nindent 2 }}
    strimzi.io/cluster: {{ include "kafka.fullname" $root }}
  {{- with include "kafka.keep" $root }}
  {{- . | nindent 2 }}
  {{- end }}
spec:
  replicas: {{ int $pool.replicas }}
  roles:
    {{- toYaml (index . 2) | nindent 4 }}
  storage:
    type: jbod
    volumes:
      {{- range $id := until (int $pool.storage.disks) }}
      - id: {{ $id }}
        type: {{ $pool.storage.type }}
        {{- if eq $pool.storage.type "ephemeral" }}
        sizeLimit: {{ $pool.storage.size }}
        {{- else }}
        size: {{ $pool.storage.size }}
        {{- with $pool.storage.storageClass }}
        class: {{ . }}
        {{- end }}
        deleteClaim: {{ $pool.storage.deleteClaim }}
        {{- end }}
        {{- if eq $id 0 }}
        kraftMetadata: shared
        {{- end }}
      {{- end }}
  resources:
    {{- toYaml $pool.resources | nindent 4 }}
  jvmOptions:
    -Xms: {{ $pool.heap }}
    -Xmx: {{ $pool.heap }}
  template:
    pod:
      {{- if or $pool.podLabels $pool.podAnnotations }}
      metadata:
        {{- with $pool.podLabels }}
        labels:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        {{- with $pool.podAnnotations }}
        annotations:
          {{- toYaml . | nindent 10 }}
        {{- end }}
      {{- end }}
      securityContext:
        {{- include "kafka.podSecurity" $root | nindent 8 }}
      # A broker hands its partitions over before it ends, and closes its files: after a kill it would check them all.
      terminationGracePeriodSeconds: 120
      {{- with include "kafka.affinity" . | trim }}
      affinity:
        {{- . | nindent 8 }}
      {{- end }}
      {{- with $pool.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $pool.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with include "kafka.pullSecrets" $root }}
      {{- . | nindent 6 }}
      {{- end }}
    kafkaContainer:
      securityContext:
        {{- include "kafka.containerSecurity" $root | nindent 8 }}
    initContainer:
      securityContext:
        {{- include "kafka.containerSecurity" $root | nindent 8 }}
{{- end -}}
