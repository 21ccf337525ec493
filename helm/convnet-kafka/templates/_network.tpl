{{/* Rules that several network policies have. */}}

{{/* Pods of some parts of the release, as a list of peers. Takes (list $ "server" "classifier"). */}}
{{- define "convnet-kafka.peers" -}}
- podSelector:
    matchLabels:
      app.kubernetes.io/name: convnet-kafka
      app.kubernetes.io/instance: {{ include "convnet-kafka.fullname" (first .) }}
    matchExpressions:
      - {key: app.kubernetes.io/component, operator: In, values: {{ rest . | toJson }}}
{{- end -}}

{{- define "convnet-kafka.egress.dns" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
  to:
    {{- toYaml .Values.networkPolicy.dnsTo | nindent 4 }}
{{- end -}}

{{- define "convnet-kafka.egress.kafka" -}}
{{- if .Values.kafka.embedded.enabled -}}
- ports:
    - {protocol: TCP, port: kafka}
  to:
    {{- include "convnet-kafka.peers" (list . "kafka") | nindent 4 }}
{{- else if .Values.kafka.strimzi.cluster -}}
- ports:
    - {protocol: TCP, port: {{ .Values.kafka.strimzi.port }}}
  to:
    - podSelector:
        matchLabels:
          strimzi.io/cluster: {{ .Values.kafka.strimzi.cluster }}
          strimzi.io/name: {{ .Values.kafka.strimzi.cluster }}-kafka
{{- else -}}
{{- $ports := list -}}
{{- range splitList "," .Values.kafka.bootstrapServers }}{{ $ports = append $ports (regexFind "[0-9]+$" (trim .)) }}{{ end -}}
- ports:
    {{- range $ports | uniq }}
    - {protocol: TCP, port: {{ . | int }}}
    {{- end }}
  {{- with .Values.networkPolicy.kafkaTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- define "convnet-kafka.egress.collector" -}}
{{- with .Values.tracing.endpoint }}
- ports:
    - {protocol: TCP, port: {{ include "convnet-kafka.portOfUrl" . }}}
  {{- with $.Values.networkPolicy.collectorTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Who may scrape, as JSON; nobody where nothing is to be scraped. */}}
{{- define "convnet-kafka.scrapers" -}}
{{- if .Values.monitoring.podMonitor.enabled }}{{ toJson .Values.networkPolicy.metricsFrom }}{{ else }}[]{{ end -}}
{{- end -}}

{{/* The port of an address. */}}
{{- define "convnet-kafka.portOfUrl" -}}
{{- $parts := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $parts.host | trimPrefix ":" -}}
{{- $port | default (eq $parts.scheme "https" | ternary "443" "80") -}}
{{- end -}}
