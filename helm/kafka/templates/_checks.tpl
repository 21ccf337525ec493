{{/* Combinations of values that cannot work, or lose something: refused with a sentence that says what to do. */}}

{{- define "kafka.checks" -}}
{{- include "kafka.checks.definitions" . -}}
{{- include "kafka.checks.quorum" . -}}
{{- include "kafka.checks.config" . -}}
{{- include "kafka.checks.listeners" . -}}
{{- if and .Values.cruiseControl.enabled (lt (int .Values.brokers.replicas) 2) -}}
{{- fail "\n\ncruiseControl.enabled: with one broker there is nowhere to move partitions to, and Cruise Control does not start. Set cruiseControl.enabled=false, or brokers.replicas to 2 or more." -}}
{{- end -}}
{{- end -}}

{{- define "kafka.checks.definitions" -}}
{{- if .Values.crdChecks -}}
{{- range $kind := list "Kafka" "KafkaNodePool" -}}
{{- if not ($.Capabilities.APIVersions.Has (printf "kafka.strimzi.io/v1/%s" $kind)) -}}
{{- fail (printf "\n\nThis cluster does not know %s of kafka.strimzi.io/v1: Strimzi's operator, 1.0 or newer, must be there first. Install it:\n\n  helm install strimzi oci://quay.io/strimzi-helm/strimzi-kafka-operator --namespace strimzi --create-namespace --set watchAnyNamespace=true\n\nand run this again. Where Helm does not ask a cluster (helm template, Argo CD) set crdChecks=false." $kind) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.podMonitor.enabled (not (.Capabilities.APIVersions.Has "monitoring.coreos.com/v1/PodMonitor")) -}}
{{- fail "\n\npodMonitor.enabled: this cluster does not know PodMonitor of monitoring.coreos.com/v1. Install the Prometheus operator first, or set podMonitor.enabled=false. Where Helm does not ask a cluster (helm template, Argo CD) set crdChecks=false." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* An even number of controllers survives no more than one less, and every one of them must be asked. */}}
{{- define "kafka.checks.quorum" -}}
{{- if .Values.controllers.enabled -}}
{{- if eq (mod (int .Values.controllers.replicas) 2) 0 -}}
{{- fail (printf "\n\ncontrollers.replicas is %d: controllers decide by majority, so %d survive no more losses than %d. Set an odd number, 3 or 5." (int .Values.controllers.replicas) (int .Values.controllers.replicas) (sub (int .Values.controllers.replicas) 1)) -}}
{{- end -}}
{{- if eq .Values.controllers.pool .Values.brokers.pool -}}
{{- fail (printf "\n\ncontrollers.pool and brokers.pool are both %q: two pools need two names." .Values.brokers.pool) -}}
{{- end -}}
{{- else if not (has (int .Values.brokers.replicas) (list 1 3 5)) -}}
{{- fail (printf "\n\nbrokers.replicas is %d, and every broker is a controller too: these decide by majority and are 1 (for trials), 3 or 5. Set one of them, or controllers.enabled=true for any number of brokers." (int .Values.brokers.replicas)) -}}
{{- end -}}
{{- end -}}

{{/* Strimzi passes over what it decides itself, and only its log says so. */}}
{{- define "kafka.checks.config" -}}
{{- $free := list "broker.session.timeout.ms" "broker.heartbeat.interval.ms" "controller.socket.timeout.ms" "controller.quorum.election.backoff.max.ms" "controller.quorum.election.timeout.ms" "controller.quorum.fetch.timeout.ms" "sasl.server.max.receive.size" "ssl.cipher.suites" "ssl.protocol" "ssl.enabled.protocols" "ssl.secure.random.implementation" "cruise.control.metrics.topic.num.partitions" "cruise.control.metrics.topic.replication.factor" "cruise.control.metrics.topic.retention.ms" "cruise.control.metrics.topic.auto.create.retries" "cruise.control.metrics.topic.auto.create.timeout.ms" "cruise.control.metrics.topic.min.insync.replicas" -}}
{{- $prefixes := list "listeners" "advertised." "broker." "listener." "inter.broker.listener.name" "sasl." "ssl." "security." "password." "log.dir" "authorizer." "super.user" "cruise.control.metrics.topic" "cruise.control.metrics.reporter.bootstrap.servers" "node.id" "process.roles" "controller." "metadata.log.dir" "prometheus.metrics.reporter." "cordoned.log.dirs" -}}
{{- range $key := keys .Values.config | sortAlpha -}}
{{- range $prefix := $prefixes -}}
{{- if and (hasPrefix $prefix $key) (not (has $key $free)) -}}
{{- fail (printf "\n\nconfig has %q: Strimzi decides what begins with %q itself and would pass over it. Take it out; listeners, users, disks and metrics have values of their own." $key $prefix) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq (toString (get .Values.config "unclean.leader.election.enable")) "true" -}}
{{- fail "\n\nconfig has unclean.leader.election.enable=true: after a loss of brokers a copy without the last records would lead, and images that were accepted would be gone. Take it out." -}}
{{- end -}}
{{- if eq (toString (get .Values.config "auto.create.topics.enable")) "true" -}}
{{- fail "\n\nconfig has auto.create.topics.enable=true: a misspelt name would make a topic with one copy and lose what is sent there. Take it out; the chart convnet-kafka makes its topics." -}}
{{- end -}}
{{- $inSync := int (get (include "kafka.config" . | fromYaml) "min.insync.replicas") -}}
{{- $copies := int (get (include "kafka.config" . | fromYaml) "default.replication.factor") -}}
{{- if gt $copies (int .Values.brokers.replicas) -}}
{{- fail (printf "\n\nconfig asks for default.replication.factor=%d, and there are %d brokers: no topic could be made. Set brokers.replicas to %d or more." $copies (int .Values.brokers.replicas) $copies) -}}
{{- end -}}
{{- if gt $inSync $copies -}}
{{- fail (printf "\n\nconfig asks for min.insync.replicas=%d of default.replication.factor=%d copies: nothing could be written. Set it to %d or less." $inSync $copies $copies) -}}
{{- end -}}
{{- end -}}

{{- define "kafka.checks.listeners" -}}
{{- $ports := list (int .Values.listener.port) -}}
{{- $names := list "tls" -}}
{{- range .Values.extraListeners -}}
{{- if or (has (int .port) $ports) (has .name $names) -}}
{{- fail (printf "\n\nextraListeners has %q on port %d: name and port must be its own. The chart's listener is \"tls\" on %d." .name (int .port) (int $.Values.listener.port)) -}}
{{- end -}}
{{- if not .authentication -}}
{{- fail (printf "\n\nextraListeners has %q without authentication: whoever reaches it could read and write everything. Give it one, for example {type: scram-sha-512}." .name) -}}
{{- end -}}
{{- $ports = append $ports (int .port) -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end -}}
