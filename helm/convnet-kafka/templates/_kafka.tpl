{{/* Which Kafka, and how a part of the release logs on to it. */}}

{{- define "convnet-kafka.prefix" -}}
{{- .Values.topics.prefix | default (include "convnet-kafka.fullname" .) -}}
{{- end -}}

{{/* Host of the trial broker: with the namespace, because KEDA asks from another one. */}}
{{- define "convnet-kafka.embeddedHost" -}}
{{- printf "%s-kafka.%s.svc" (include "convnet-kafka.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "convnet-kafka.bootstrapServers" -}}
{{- if .Values.kafka.embedded.enabled -}}
{{- include "convnet-kafka.embeddedHost" . }}:9092
{{- else if .Values.kafka.strimzi.cluster -}}
{{- printf "%s-kafka-bootstrap.%s.svc:%d" .Values.kafka.strimzi.cluster .Release.Namespace (int .Values.kafka.strimzi.port) -}}
{{- else -}}
{{- .Values.kafka.bootstrapServers -}}
{{- end -}}
{{- end -}}

{{- define "convnet-kafka.securityProtocol" -}}
{{- if .Values.kafka.embedded.enabled -}}PLAINTEXT
{{- else if .Values.kafka.strimzi.cluster -}}SASL_SSL
{{- else -}}{{ .Values.kafka.securityProtocol }}
{{- end -}}
{{- end -}}

{{- define "convnet-kafka.saslMechanism" -}}
{{- if hasPrefix "SASL" (include "convnet-kafka.securityProtocol" .) -}}
{{- if .Values.kafka.strimzi.cluster }}SCRAM-SHA-512{{ else }}{{ .Values.kafka.saslMechanism }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* Secret and key of the authority of the brokers' certificates, as JSON; `secret` is empty where there is none. */}}
{{- define "convnet-kafka.ca" -}}
{{- if and .Values.kafka.strimzi.cluster (not .Values.kafka.ca.secret) -}}
{{- dict "secret" (printf "%s-cluster-ca-cert" .Values.kafka.strimzi.cluster) "key" "ca.crt" | toJson -}}
{{- else if hasSuffix "SSL" (include "convnet-kafka.securityProtocol" .) -}}
{{- dict "secret" .Values.kafka.ca.secret "key" .Values.kafka.ca.key | toJson -}}
{{- else -}}
{{- dict "secret" "" | toJson -}}
{{- end -}}
{{- end -}}

{{- define "convnet-kafka.createsUsers" -}}
{{- if and .Values.kafka.strimzi.cluster .Values.kafka.users.create -}}true{{- end -}}
{{- end -}}

{{/* Who a part is for Kafka, as JSON: secret, username, usernameKey, passwordKey. Takes (list $ "server"). */}}
{{- define "convnet-kafka.credentials" -}}
{{- $root := index . 0 -}}
{{- $user := deepCopy (index $root.Values.kafka.users (index . 1)) -}}
{{- if and (include "convnet-kafka.createsUsers" $root) (not $user.secret) -}}
{{- $name := printf "%s-%s" (include "convnet-kafka.fullname" $root) (index . 1) -}}
{{- dict "secret" $name "username" $name "usernameKey" "" "passwordKey" "password" | toJson -}}
{{- else -}}
{{- $user | toJson -}}
{{- end -}}
{{- end -}}

{{/* What series of the brokers have as `release`: the name of Strimzi's cluster, or the release that runs the trial broker. */}}
{{- define "convnet-kafka.kafkaRelease" -}}
{{- .Values.kafka.strimzi.cluster | default (include "convnet-kafka.fullname" .) -}}
{{- end -}}

{{/* True where a part logs on with a name and a password. */}}
{{- define "convnet-kafka.usesPassword" -}}
{{- if has (include "convnet-kafka.saslMechanism" .) (list "PLAIN" "SCRAM-SHA-256" "SCRAM-SHA-512") -}}true{{- end -}}
{{- end -}}

{{- define "convnet-kafka.replicationFactor" -}}
{{- if kindIs "invalid" .Values.topics.replicationFactor }}{{ .Values.kafka.embedded.enabled | ternary 1 3 }}{{ else }}{{ int .Values.topics.replicationFactor }}{{ end -}}
{{- end -}}

{{- define "convnet-kafka.minInsyncReplicas" -}}
{{- if kindIs "invalid" .Values.topics.minInsyncReplicas }}{{ .Values.kafka.embedded.enabled | ternary 1 2 }}{{ else }}{{ int .Values.topics.minInsyncReplicas }}{{ end -}}
{{- end -}}

{{/* Whether the services create the topics. */}}
{{- define "convnet-kafka.servicesCreateTopics" -}}
{{- if eq .Values.topics.create "application" -}}true
{{- else if and (eq .Values.topics.create "auto") .Values.kafka.embedded.enabled -}}true
{{- else -}}false
{{- end -}}
{{- end -}}

{{/* Environment of a container that talks to Kafka. Takes (list $ "server" memoryMib). */}}
{{- define "convnet-kafka.kafkaEnv" -}}
{{- $root := index . 0 -}}
{{- $kafka := $root.Values.kafka -}}
{{- $user := include "convnet-kafka.credentials" (list $root (index . 1)) | fromJson -}}
{{- $ca := include "convnet-kafka.ca" $root | fromJson -}}
- name: KAFKA_BOOTSTRAP_SERVERS
  value: {{ include "convnet-kafka.bootstrapServers" $root | quote }}
- name: KAFKA_TOPIC_PREFIX
  value: {{ include "convnet-kafka.prefix" $root | quote }}
- name: KAFKA_GROUP_PROTOCOL
  value: {{ $kafka.groupProtocol }}
- name: KAFKA_MAX_IMAGE_BYTES
  value: {{ $kafka.maxImageBytes | int64 | quote }}
- name: KAFKA_MEMORY_BUDGET_MIB
  value: {{ index . 2 | int64 | quote }}
- name: KAFKA_SECURITY_PROTOCOL
  value: {{ include "convnet-kafka.securityProtocol" $root }}
{{- with include "convnet-kafka.saslMechanism" $root }}
- name: KAFKA_SASL_MECHANISM
  value: {{ . }}
{{- end }}
{{- if include "convnet-kafka.usesPassword" $root }}
- name: KAFKA_SASL_USERNAME
  {{- if $user.username }}
  value: {{ $user.username | quote }}
  {{- else }}
  valueFrom:
    secretKeyRef: {name: {{ $user.secret }}, key: {{ $user.usernameKey }}}
  {{- end }}
- name: KAFKA_SASL_PASSWORD_FILE
  value: /etc/convnet-kafka/user/{{ $user.passwordKey }}
{{- end }}
{{- if $ca.secret }}
- name: KAFKA_SSL_CA_LOCATION
  value: /etc/convnet-kafka/ca/{{ $ca.key }}
{{- end }}
{{- if $kafka.clientCertificate.secret }}
- name: KAFKA_SSL_CERTIFICATE_LOCATION
  value: /etc/convnet-kafka/certificate/{{ $kafka.clientCertificate.certificateKey }}
- name: KAFKA_SSL_KEY_LOCATION
  value: /etc/convnet-kafka/certificate/{{ $kafka.clientCertificate.privateKey }}
{{- end }}
{{- if $kafka.clientOptionsSecret.secret }}
- name: KAFKA_CLIENT_OPTIONS
  valueFrom:
    secretKeyRef: {name: {{ $kafka.clientOptionsSecret.secret }}, key: {{ $kafka.clientOptionsSecret.key }}}
{{- else if $kafka.clientOptions }}
- name: KAFKA_CLIENT_OPTIONS
  value: {{ $kafka.clientOptions | toJson | quote }}
{{- end }}
- name: CONVNET_TOPICS_CREATE
  value: {{ include "convnet-kafka.servicesCreateTopics" $root | quote }}
- name: CONVNET_TOPICS_REPLICATION_FACTOR
  value: {{ include "convnet-kafka.replicationFactor" $root | quote }}
- name: CONVNET_TOPICS_MIN_INSYNC_REPLICAS
  value: {{ include "convnet-kafka.minInsyncReplicas" $root | quote }}
{{- range $key := list "imagesPartitions" "labelsPartitions" "imagesRetentionHours" "jobLifeHours" }}
- name: CONVNET_TOPICS_{{ $key | snakecase | upper }}
  value: {{ index $root.Values.topics $key | toJson | quote }}
{{- end }}
{{- end -}}

{{/* Mounts of such a container. Takes (list $ "server"). */}}
{{- define "convnet-kafka.kafkaMounts" -}}
{{- $root := index . 0 -}}
{{- $ca := include "convnet-kafka.ca" $root | fromJson -}}
{{- if include "convnet-kafka.usesPassword" $root }}
- name: kafka-user
  mountPath: /etc/convnet-kafka/user
  readOnly: true
{{- end }}
{{- if $ca.secret }}
- name: kafka-ca
  mountPath: /etc/convnet-kafka/ca
  readOnly: true
{{- end }}
{{- if $root.Values.kafka.clientCertificate.secret }}
- name: kafka-certificate
  mountPath: /etc/convnet-kafka/certificate
  readOnly: true
{{- end }}
{{- end -}}

{{/* Volumes of such a pod. Takes (list $ "server"). */}}
{{- define "convnet-kafka.kafkaVolumes" -}}
{{- $root := index . 0 -}}
{{- $user := include "convnet-kafka.credentials" . | fromJson -}}
{{- $ca := include "convnet-kafka.ca" $root | fromJson -}}
{{- if include "convnet-kafka.usesPassword" $root }}
- name: kafka-user
  secret:
    secretName: {{ $user.secret }}
    defaultMode: 0440
    items:
      - {key: {{ $user.passwordKey }}, path: {{ $user.passwordKey }}}
{{- end }}
{{- if $ca.secret }}
- name: kafka-ca
  secret:
    secretName: {{ $ca.secret }}
    defaultMode: 0444
    items:
      - {key: {{ $ca.key }}, path: {{ $ca.key }}}
{{- end }}
{{- with $root.Values.kafka.clientCertificate }}
{{- if .secret }}
- name: kafka-certificate
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
{{- end }}
{{- end }}
{{- end -}}

{{/* What KEDA's trigger says of how it logs on. */}}
{{- define "convnet-kafka.kedaSecurity" -}}
{{- if include "convnet-kafka.usesPassword" . }}
{{- $kinds := dict "PLAIN" "plaintext" "SCRAM-SHA-256" "scram_sha256" "SCRAM-SHA-512" "scram_sha512" }}
sasl: {{ get $kinds (include "convnet-kafka.saslMechanism" .) }}
{{- end }}
{{- if hasSuffix "SSL" (include "convnet-kafka.securityProtocol" .) }}
tls: enable
{{- end }}
{{- end -}}

{{/* Where KEDA finds what it needs for that, as a TriggerAuthentication has it; empty where it needs nothing. */}}
{{- define "convnet-kafka.kedaAuthentication" -}}
{{- $user := include "convnet-kafka.credentials" (list . "keda") | fromJson -}}
{{- $ca := include "convnet-kafka.ca" . | fromJson -}}
{{- $certificate := .Values.kafka.clientCertificate -}}
{{- $secrets := list -}}
{{- $configMaps := list -}}
{{- if include "convnet-kafka.usesPassword" . -}}
{{- $secrets = append $secrets (dict "parameter" "password" "name" $user.secret "key" $user.passwordKey) -}}
{{- if $user.username -}}
{{- $configMaps = append $configMaps (dict "parameter" "username" "name" (printf "%s-keda" (include "convnet-kafka.fullname" .)) "key" "username") -}}
{{- else -}}
{{- $secrets = append $secrets (dict "parameter" "username" "name" $user.secret "key" $user.usernameKey) -}}
{{- end -}}
{{- end -}}
{{- if $ca.secret -}}
{{- $secrets = append $secrets (dict "parameter" "ca" "name" $ca.secret "key" $ca.key) -}}
{{- end -}}
{{- if $certificate.secret -}}
{{- $secrets = append $secrets (dict "parameter" "cert" "name" $certificate.secret "key" $certificate.certificateKey) -}}
{{- $secrets = append $secrets (dict "parameter" "key" "name" $certificate.secret "key" $certificate.privateKey) -}}
{{- end -}}
{{- if $secrets -}}
secretTargetRef:
  {{- toYaml $secrets | nindent 2 }}
{{- end }}
{{- if $configMaps }}
configMapTargetRef:
  {{- toYaml $configMaps | nindent 2 }}
{{- end }}
{{- end -}}
