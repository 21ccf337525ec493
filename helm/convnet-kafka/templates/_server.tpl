{{/* What several templates must know of the servers. */}}

{{/* Seconds from SIGTERM to SIGKILL: what the service takes at most, and some. */}}
{{- define "convnet-kafka.server.gracePeriod" -}}
{{- $settings := .Values.server.settings -}}
{{- $delay := 5.0 -}}
{{- $timeout := 20.0 -}}
{{- if not (kindIs "invalid" $settings.shutdownDelayS) }}{{ $delay = float64 $settings.shutdownDelayS }}{{ end -}}
{{- if not (kindIs "invalid" $settings.shutdownTimeoutS) }}{{ $timeout = float64 $settings.shutdownTimeoutS }}{{ end -}}
{{- ceil (addf $delay $timeout 15.0) | int -}}
{{- end -}}

{{- define "convnet-kafka.server.signingSecret" -}}
{{- .Values.server.jobSigning.existingSecret | default (printf "%s-job-signing" (include "convnet-kafka.fullname" .)) -}}
{{- end -}}

{{- define "convnet-kafka.server.signingKeyFiles" -}}
{{- $files := list -}}
{{- range .Values.server.jobSigning.keys -}}
{{- $files = append $files (printf "/etc/convnet-kafka/job-signing/%s" .) -}}
{{- end -}}
{{- join "," $files -}}
{{- end -}}

{{- define "convnet-kafka.server.keysSecret" -}}
{{- .Values.server.apiKeys.existingSecret | default (printf "%s-api-keys" (include "convnet-kafka.fullname" .)) -}}
{{- end -}}

{{/* Address of the Service inside of the cluster. */}}
{{- define "convnet-kafka.server.url" -}}
{{- printf "http://%s-server.%s.svc:%d" (include "convnet-kafka.fullname" .) .Release.Namespace (int .Values.server.service.port) -}}
{{- end -}}

{{/* How many pods there are: nobody's business but an autoscaler's, or yours. Takes (list $ .Values.server). */}}
{{- define "convnet-kafka.replicas" -}}
{{- $values := index . 1 -}}
{{- if and (eq $values.autoscaling.mode "none") (not (kindIs "invalid" $values.replicas)) -}}
replicas: {{ int $values.replicas }}
{{- end -}}
{{- end -}}
