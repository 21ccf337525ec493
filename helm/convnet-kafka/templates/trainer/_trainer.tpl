{{/* The pod of a training, the same in Job and CronJob. */}}

{{- define "convnet-kafka.trainer.args" -}}
{{- $data := .Values.trainer.data -}}
{{- $args := list "train" -}}
{{- if eq $data.source "digits" -}}
{{- $args = append $args "--digits" -}}
{{- else if eq $data.source "claim" -}}
{{- $args = append $args (printf "/data/%s" (trimPrefix "/" $data.claim.folder) | trimSuffix "/") -}}
{{- else -}}
{{- $args = append $args "/tmp/pictures" -}}
{{- end -}}
{{- concat $args (list "--models" "/models") .Values.trainer.args | toJson -}}
{{- end -}}

{{- define "convnet-kafka.trainer.spec" -}}
{{- $trainer := .Values.trainer -}}
backoffLimit: {{ $trainer.backoffLimit }}
{{- with $trainer.activeDeadlineS }}
activeDeadlineSeconds: {{ . }}
{{- end }}
podFailurePolicy:
  rules:
    # A node that was drained is no failure of the training.
    - action: Ignore
      onPodConditions:
        - type: DisruptionTarget
          status: "True"
    # Wrong options, pictures or classes, or too large for the memory: trying again changes nothing.
    - action: FailJob
      onExitCodes:
        containerName: trainer
        operator: In
        values: [2, 3, 6, 8]
template:
  metadata:
    labels:
      {{- include "convnet-kafka.podLabels" (list $ "trainer" $trainer) | nindent 6 }}
    {{- with $trainer.podAnnotations }}
    annotations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    {{- include "convnet-kafka.podSpec" (list $ "trainer" $trainer) | nindent 4 }}
    restartPolicy: Never
    {{- if eq $trainer.data.source "archive" }}
    initContainers:
      - name: fetch
        image: {{ include "convnet-kafka.image" (list $ $trainer.image) }}
        imagePullPolicy: {{ .Values.images.pullPolicy }}
        args: {{ list "data" "fetch" $trainer.data.archive.url "/tmp/pictures" "--sha256" $trainer.data.archive.sha256 | toJson }}
        {{- with $trainer.extraEnv }}
        env:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        {{- with $trainer.resources }}
        resources:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        securityContext:
          {{- include "convnet-kafka.containerSecurity" . | nindent 10 }}
        volumeMounts:
          - {name: tmp, mountPath: /tmp}
    {{- end }}
    containers:
      - name: trainer
        image: {{ include "convnet-kafka.image" (list $ $trainer.image) }}
        imagePullPolicy: {{ .Values.images.pullPolicy }}
        args: {{ include "convnet-kafka.trainer.args" . }}
        {{- with $trainer.extraEnv }}
        env:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        {{- with $trainer.resources }}
        resources:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        securityContext:
          {{- include "convnet-kafka.containerSecurity" . | nindent 10 }}
        volumeMounts:
          - {name: tmp, mountPath: /tmp}
          - {name: models, mountPath: /models}
          {{- if eq $trainer.data.source "claim" }}
          - {name: data, mountPath: /data, readOnly: true}
          {{- end }}
    volumes:
      - name: tmp
        emptyDir: {sizeLimit: {{ $trainer.data.size }}}
      - name: models
        persistentVolumeClaim:
          claimName: {{ include "convnet-kafka.model.claim" . }}
      {{- if eq $trainer.data.source "claim" }}
      - name: data
        persistentVolumeClaim:
          claimName: {{ $trainer.data.claim.name }}
          readOnly: true
      {{- end }}
{{- end -}}
