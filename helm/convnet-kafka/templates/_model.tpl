{{/* The volume of the models' registry. */}}

{{- define "convnet-kafka.model.claim" -}}
{{- .Values.model.persistence.existingClaim | default (printf "%s-models" (include "convnet-kafka.fullname" .)) -}}
{{- end -}}

{{- define "convnet-kafka.model.accessMode" -}}
{{- .Values.model.persistence.accessMode | default (.Values.kafka.embedded.enabled | ternary "ReadWriteOnce" "ReadWriteMany") -}}
{{- end -}}

{{/* True where all pods that use the volume must run on one node. */}}
{{- define "convnet-kafka.model.singleNode" -}}
{{- $trial := and .Values.kafka.embedded.enabled (eq (include "convnet-kafka.model.accessMode" .) "ReadWriteOnce") -}}
{{- if or .Values.model.persistence.singleNode $trial -}}true{{- end -}}
{{- end -}}
