{{/* The client's Job: it sends pictures, waits for their labels, and prints a report. Takes (list $ "/folder"). */}}

{{- define "convnet-kafka.client.keySecret" -}}
{{- .Values.client.apiKeySecret | default (include "convnet-kafka.server.keysSecret" .) -}}
{{- end -}}

{{/* True where the client needs a key: the servers ask for one, or it goes to servers that are not ours. */}}
{{- define "convnet-kafka.client.usesKey" -}}
{{- if or .Values.client.apiKeySecret .Values.server.apiKeys.enabled -}}true{{- end -}}
{{- end -}}

{{- define "convnet-kafka.client.spec" -}}
{{- $root := index . 0 -}}
{{- $client := $root.Values.client -}}
{{- $pictures := $client.pictures -}}
# Sending the same pictures again into another job costs nothing but their work.
backoffLimit: 3
ttlSecondsAfterFinished: {{ int $client.ttlS }}
template:
  metadata:
    labels:
      {{- include "convnet-kafka.podLabels" (list $root "client" $client) | nindent 6 }}
    {{- with $client.podAnnotations }}
    annotations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    {{- include "convnet-kafka.podSpec" (list $root "client" $client) | nindent 4 }}
    restartPolicy: Never
    containers:
      - name: client
        image: {{ include "convnet-kafka.image" (list $root $client.image) }}
        imagePullPolicy: {{ $root.Values.images.pullPolicy }}
        args: {{ concat (list "classify" (index . 1)) $client.args | toJson }}
        env:
          - name: SERVER_URL
            value: {{ $client.serverUrl | default (include "convnet-kafka.server.url" $root) }}
          {{- if include "convnet-kafka.client.usesKey" $root }}
          - name: CONVNET_API_KEY_FILE
            value: /etc/convnet-kafka/client/api-key
          {{- end }}
          {{- with $client.extraEnv }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
        {{- with $client.resources }}
        resources:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        securityContext:
          {{- include "convnet-kafka.containerSecurity" $root | nindent 10 }}
        volumeMounts:
          - {name: tmp, mountPath: /tmp}
          {{- if ne $pictures.source "image" }}
          - {name: pictures, mountPath: /pictures, readOnly: true}
          {{- end }}
          {{- if include "convnet-kafka.client.usesKey" $root }}
          - {name: api-key, mountPath: /etc/convnet-kafka/client, readOnly: true}
          {{- end }}
    volumes:
      - name: tmp
        emptyDir: {sizeLimit: 1Gi}
      {{- if eq $pictures.source "claim" }}
      - name: pictures
        persistentVolumeClaim: {claimName: {{ $pictures.name }}, readOnly: true}
      {{- else if eq $pictures.source "configMap" }}
      - name: pictures
        configMap: {name: {{ $pictures.name }}}
      {{- end }}
      {{- if include "convnet-kafka.client.usesKey" $root }}
      - name: api-key
        secret:
          secretName: {{ include "convnet-kafka.client.keySecret" $root }}
          defaultMode: 0440
          items:
            - {key: api-key, path: api-key}
      {{- end }}
{{- end -}}
