{{/* What all pods of the release have in common: they pass the `restricted` Pod Security Standard. */}}

{{/* Fields of a pod's spec but containers and volumes. Takes (list $ "server" .Values.server). */}}
{{- define "convnet-kafka.podSpec" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $values := index . 2 -}}
serviceAccountName: {{ include "convnet-kafka.serviceAccountName" (list $root $component $values.serviceAccount) }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- with $root.Values.podSecurity.runAsUser }}
  runAsUser: {{ int64 . }}
  runAsGroup: {{ int64 . }}
  fsGroup: {{ int64 . }}
  {{- end }}
  # A volume of a million pictures is not looked through at every start.
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with $root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with include "convnet-kafka.affinity" . }}
affinity:
  {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Security of every container. */}}
{{- define "convnet-kafka.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Labels of a pod: none that changes with the chart's version, which would restart all pods. Takes (list $ "server" .Values.server). */}}
{{- define "convnet-kafka.podLabels" -}}
{{- $root := index . 0 -}}
{{ include "convnet-kafka.selector" (list $root (index . 1)) }}
app.kubernetes.io/part-of: convnet-kafka
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- with (index . 2).podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
Where a part's pods run: what was asked for, else apart from each other, else (pods that use a volume of one node) together.
Takes (list $ "server" .Values.server).
*/}}
{{- define "convnet-kafka.affinity" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $values := index . 2 -}}
{{- if $values.affinity -}}
{{- toYaml $values.affinity -}}
{{- else -}}
{{- $together := and (has $component (list "classifier" "trainer" "tools")) (include "convnet-kafka.model.singleNode" $root) -}}
{{- if $together -}}
podAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    - topologyKey: kubernetes.io/hostname
      labelSelector:
        matchLabels:
          app.kubernetes.io/name: convnet-kafka
          app.kubernetes.io/instance: {{ include "convnet-kafka.fullname" $root }}
        matchExpressions:
          - {key: app.kubernetes.io/component, operator: In, values: [classifier, trainer, tools]}
{{- else if eq ($values.antiAffinity | default "none") "hard" -}}
podAntiAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    - topologyKey: kubernetes.io/hostname
      labelSelector:
        matchLabels:
          {{- include "convnet-kafka.selector" (list $root $component) | nindent 10 }}
{{- else if eq ($values.antiAffinity | default "none") "soft" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "convnet-kafka.selector" (list $root $component) | nindent 12 }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Pods evenly over zones. Takes (list $ "server" .Values.server). */}}
{{- define "convnet-kafka.topologySpread" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $how := (index . 2).topologySpread -}}
{{- $oneNode := and (eq $component "classifier") (include "convnet-kafka.model.singleNode" $root) -}}
{{- if and (ne $how "none") (not $oneNode) -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: {{ eq $how "hard" | ternary "DoNotSchedule" "ScheduleAnyway" }}
    labelSelector:
      matchLabels:
        {{- include "convnet-kafka.selector" (list $root $component) | nindent 8 }}
    # Each version of a rolling update is spread by itself.
    matchLabelKeys: [pod-template-hash]
{{- end -}}
{{- end -}}

{{/* A value as the text of an environment variable: large numbers without an exponent, maps and lists as JSON. */}}
{{- define "convnet-kafka.text" -}}
{{- if kindIs "string" . -}}{{ . }}{{- else -}}{{ toJson . }}{{- end -}}
{{- end -}}

{{/* Settings of a service as environment variables. Takes (list "CONVNET_SERVER_" .Values.server.settings). */}}
{{- define "convnet-kafka.settingsEnv" -}}
{{- $prefix := index . 0 -}}
{{- range $key, $value := index . 1 }}
{{- if not (kindIs "invalid" $value) }}
- name: {{ $prefix }}{{ $key | snakecase | upper }}
  value: {{ include "convnet-kafka.text" $value | quote }}
{{- end }}
{{- end }}
{{- end -}}
