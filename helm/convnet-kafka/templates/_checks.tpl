{{/* Combinations of values that cannot work, or lose something: refused with a sentence that says what to do. */}}

{{- define "convnet-kafka.checks" -}}
{{- include "convnet-kafka.checks.kafka" . -}}
{{- include "convnet-kafka.checks.users" . -}}
{{- include "convnet-kafka.checks.topics" . -}}
{{- include "convnet-kafka.checks.scaling" (list . "server" .Values.server) -}}
{{- include "convnet-kafka.checks.scaling" (list . "classifier" .Values.classifier) -}}
{{- include "convnet-kafka.checks.classifiers" . -}}
{{- include "convnet-kafka.checks.model" . -}}
{{- include "convnet-kafka.checks.public" . -}}
{{- include "convnet-kafka.checks.secrets" . -}}
{{- include "convnet-kafka.checks.jobs" . -}}
{{- include "convnet-kafka.checks.kinds" . -}}
{{- end -}}

{{- define "convnet-kafka.refuse" -}}
{{- fail (printf "\n\n%s\n" .) -}}
{{- end -}}

{{- define "convnet-kafka.checks.kafka" -}}
{{- $kafka := .Values.kafka -}}
{{- $chosen := 0 -}}
{{- range list $kafka.bootstrapServers $kafka.strimzi.cluster $kafka.embedded.enabled }}{{ if . }}{{ $chosen = add1 $chosen }}{{ end }}{{ end -}}
{{- if ne (int $chosen) 1 -}}
{{- include "convnet-kafka.refuse" (printf "Which Kafka? %d are named, one is needed. Set exactly one of kafka.strimzi.cluster (a Kafka of Strimzi in this namespace), kafka.bootstrapServers (any other), or kafka.embedded.enabled=true (one broker to try things, not for production)." (int $chosen)) -}}
{{- end -}}
{{- range splitList "," $kafka.bootstrapServers -}}
{{- if and $kafka.bootstrapServers (not (regexMatch "^[^:/ ]+:[0-9]+$" (trim .))) -}}
{{- include "convnet-kafka.refuse" (printf "kafka.bootstrapServers: %q is not host:port. Write, for example, kafka-1.example.org:9093,kafka-2.example.org:9093." .) -}}
{{- end -}}
{{- end -}}
{{- if and $kafka.embedded.enabled (or (gt (include "convnet-kafka.replicationFactor" . | int) 1) (gt (include "convnet-kafka.minInsyncReplicas" . | int) 1)) -}}
{{- include "convnet-kafka.refuse" "kafka.embedded runs one broker, which cannot hold copies: leave topics.replicationFactor and topics.minInsyncReplicas empty, or use a Kafka of several brokers (kafka.strimzi.cluster)." -}}
{{- end -}}
{{- end -}}

{{- define "convnet-kafka.checks.users" -}}
{{- $protocol := include "convnet-kafka.securityProtocol" . -}}
{{- $mechanism := include "convnet-kafka.saslMechanism" . -}}
{{- if and (hasPrefix "SASL" $protocol) (not $mechanism) -}}
{{- include "convnet-kafka.refuse" (printf "kafka.securityProtocol is %s, but kafka.saslMechanism is empty. Set it to PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER." $protocol) -}}
{{- end -}}
{{- if and .Values.kafka.bootstrapServers .Values.kafka.saslMechanism (not (hasPrefix "SASL" $protocol)) -}}
{{- include "convnet-kafka.refuse" (printf "kafka.saslMechanism is %s, but kafka.securityProtocol is %s, which logs nobody on. Set it to SASL_SSL (or SASL_PLAINTEXT in a network that you trust)." .Values.kafka.saslMechanism $protocol) -}}
{{- end -}}
{{- if include "convnet-kafka.usesPassword" . -}}
{{- $users := list "server" "classifier" -}}
{{- if and (eq .Values.classifier.autoscaling.mode "keda") (not .Values.classifier.autoscaling.keda.authenticationRef) }}{{ $users = append $users "keda" }}{{ end -}}
{{- if .Values.tools.enabled }}{{ $users = append $users "tools" }}{{ end -}}
{{- range $user := $users -}}
{{- if not (include "convnet-kafka.credentials" (list $ $user) | fromJson).secret -}}
{{- include "convnet-kafka.refuse" (printf "kafka.users.%s.secret is empty: name the Secret with the name and password that this part logs on to Kafka with (with kafka.strimzi.cluster the chart makes users itself while kafka.users.create is true)." $user) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq $mechanism "OAUTHBEARER") (not (or .Values.kafka.clientOptions .Values.kafka.clientOptionsSecret.secret)) -}}
{{- include "convnet-kafka.refuse" "kafka.saslMechanism is OAUTHBEARER, which takes all it needs from librdkafka's options: set kafka.clientOptions (sasl.oauthbearer.method, ...) or kafka.clientOptionsSecret." -}}
{{- end -}}
{{- if and (eq $mechanism "OAUTHBEARER") (eq .Values.classifier.autoscaling.mode "keda") (not .Values.classifier.autoscaling.keda.authenticationRef) -}}
{{- include "convnet-kafka.refuse" "KEDA cannot be told kafka.clientOptions: make a TriggerAuthentication that logs on to your Kafka, and name it in classifier.autoscaling.keda.authenticationRef." -}}
{{- end -}}
{{- end -}}

{{- define "convnet-kafka.checks.topics" -}}
{{- $copies := include "convnet-kafka.replicationFactor" . | int -}}
{{- $needed := include "convnet-kafka.minInsyncReplicas" . | int -}}
{{- if gt $needed $copies -}}
{{- include "convnet-kafka.refuse" (printf "topics.minInsyncReplicas is %d, more than the %d copies there are (topics.replicationFactor): no image could ever be accepted. Use one less than the copies." $needed $copies) -}}
{{- end -}}
{{- if and (eq .Values.topics.create "application") (include "convnet-kafka.createsUsers" .) -}}
{{- include "convnet-kafka.refuse" "topics.create is application, and the chart's own KafkaUsers may not create topics: leave it at auto, so that Strimzi does, or set kafka.users.create=false and name users who may." -}}
{{- end -}}
{{- if and .Values.kafka.embedded.enabled (eq .Values.topics.create "never") -}}
{{- include "convnet-kafka.refuse" "topics.create is never, and a broker of the trial mode has no topics: leave it at auto." -}}
{{- end -}}
{{- end -}}

{{/* Takes (list $ "server" .Values.server). */}}
{{- define "convnet-kafka.checks.scaling" -}}
{{- $name := index . 1 -}}
{{- $values := index . 2 -}}
{{- $scaling := $values.autoscaling -}}
{{- $set := not (kindIs "invalid" $values.replicas) -}}
{{- $scaled := ne $scaling.mode "none" -}}
{{- if and $scaled $set -}}
{{- include "convnet-kafka.refuse" (printf "%s.replicas is set, and %s.autoscaling.mode is %s: each would undo what the other does. Leave replicas empty and set autoscaling.minReplicas, or set the mode to none." $name $name $scaling.mode) -}}
{{- end -}}
{{- if and $scaled (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- include "convnet-kafka.refuse" (printf "%s.autoscaling.minReplicas is %d, more than maxReplicas, %d." $name (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- end -}}
{{- if and $scaled (eq (int $scaling.minReplicas) 0) (not (and (eq $name "classifier") (eq $scaling.mode "keda"))) -}}
{{- include "convnet-kafka.refuse" (printf "%s.autoscaling.minReplicas is 0: only classifiers, with mode keda, come back from zero. Set it to 1 or more." $name) -}}
{{- end -}}
{{- $byCpu := and (not (kindIs "invalid" $scaling.cpuUtilization)) (or (eq $scaling.mode "hpa") (and (eq $scaling.mode "keda") (eq $name "server"))) -}}
{{- if and $byCpu (not (dig "requests" "cpu" "" $values.resources)) -}}
{{- include "convnet-kafka.refuse" (printf "%s.autoscaling.cpuUtilization is a share of the requested CPU, and %s.resources.requests.cpu is not set. Set it (a classifier uses up to one core), or leave cpuUtilization empty and give other metrics." $name $name) -}}
{{- end -}}
{{- if and $scaled (not $byCpu) (not $scaling.metrics) (not (and (eq $name "classifier") (eq $scaling.mode "keda"))) -}}
{{- include "convnet-kafka.refuse" (printf "%s.autoscaling has nothing to go by: set cpuUtilization, or metrics." $name) -}}
{{- end -}}
{{- $least := $scaled | ternary $scaling.minReplicas $values.replicas -}}
{{- $budget := $values.disruptionBudget -}}
{{- if and $budget.enabled (not (kindIs "invalid" $least)) (not (kindIs "invalid" $budget.minAvailable)) (not (kindIs "string" $budget.minAvailable)) -}}
{{- if and (gt (int $least) 0) (ge (int $budget.minAvailable) (int $least)) -}}
{{- include "convnet-kafka.refuse" (printf "%s.disruptionBudget.minAvailable is %d, and there may be as few as %d: no node with one of them could ever be drained. Set it lower, or leave it empty and use maxUnavailable." $name (int $budget.minAvailable) (int $least)) -}}
{{- end -}}
{{- end -}}
{{- if and $budget.enabled (kindIs "invalid" $budget.minAvailable) (kindIs "invalid" $budget.maxUnavailable) -}}
{{- include "convnet-kafka.refuse" (printf "%s.disruptionBudget has neither minAvailable nor maxUnavailable: set one, or set enabled to false." $name) -}}
{{- end -}}
{{- end -}}

{{- define "convnet-kafka.checks.classifiers" -}}
{{- $most := include "convnet-kafka.classifier.most" . | int -}}
{{- if gt $most (int .Values.topics.imagesPartitions) -}}
{{- include "convnet-kafka.refuse" (printf "There may be %d classifiers, and topics.imagesPartitions is %d: those above it would have nothing to do. Set topics.imagesPartitions to %d or more (Kafka adds partitions, and takes none away), or have fewer classifiers." $most (int .Values.topics.imagesPartitions) $most) -}}
{{- end -}}
{{- end -}}

{{- define "convnet-kafka.checks.model" -}}
{{- $several := or .Values.trainer.enabled .Values.trainer.schedule .Values.tools.enabled (gt (include "convnet-kafka.classifier.most" . | int) 1) -}}
{{- if and (eq (include "convnet-kafka.model.accessMode" .) "ReadWriteOnce") (not (include "convnet-kafka.model.singleNode" .)) $several -}}
{{- include "convnet-kafka.refuse" "model.persistence.accessMode is ReadWriteOnce, which only pods of one node can share, and several pods use the models: classifiers and the trainer. Use a StorageClass with ReadWriteMany, or set model.persistence.singleNode=true to keep them all on one node." -}}
{{- end -}}
{{- end -}}

{{- define "convnet-kafka.checks.public" -}}
{{- $public := include "convnet-kafka.publicWays" . | fromJsonArray -}}
{{- if and $public (not .Values.server.apiKeys.enabled) (not .Values.public.authenticatedElsewhere) -}}
{{- include "convnet-kafka.refuse" (printf "%s leads to servers that ask nobody for a key (server.apiKeys.enabled=false): everybody who reaches them could use them. Switch keys on, or set public.authenticatedElsewhere=true where something before them decides who may call." (join " and " $public)) -}}
{{- end -}}
{{- if and $public .Values.networkPolicy.enabled (not .Values.networkPolicy.ingressFrom) -}}
{{- include "convnet-kafka.refuse" (printf "%s is set, but no NetworkPolicy lets it through: name the namespace of your ingress controller or gateway, for example networkPolicy.ingressFrom=[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: traefik}}}], or set networkPolicy.enabled=false." (join " and " $public)) -}}
{{- end -}}
{{- if and .Values.gateway.enabled (not .Values.gateway.parentRefs) -}}
{{- include "convnet-kafka.refuse" "gateway.enabled is set, but no Gateway is named: gateway.parentRefs=[{name: shared, namespace: gateways}], for example." -}}
{{- end -}}
{{- end -}}

{{/* A key that a Secret lacks would keep every new pod from starting. Where the cluster is not asked (helm template) nothing is known. */}}
{{- define "convnet-kafka.checks.secrets" -}}
{{- $name := include "convnet-kafka.server.signingSecret" . -}}
{{- $there := lookup "v1" "Secret" .Release.Namespace $name -}}
{{- range .Values.server.jobSigning.keys -}}
{{- if and $there (not (hasKey ($there.data | default dict) .)) -}}
{{- include "convnet-kafka.refuse" (printf "The Secret %s has no key %q (server.jobSigning.keys), so no server could start. Add it: head -c 48 /dev/urandom | base64 > new; kubectl patch secret %s --patch \"{\\\"stringData\\\": {\\\"%s\\\": \\\"$(cat new)\\\"}}\"" $name . $name .) -}}
{{- end -}}
{{- end -}}
{{- if and (gt (len .Values.server.jobSigning.keys) 1) (not .Values.server.jobSigning.existingSecret) (not $there) .Release.IsInstall -}}
{{- include "convnet-kafka.refuse" "server.jobSigning.keys names two keys, and the Secret that the chart makes has one. Name one at installation; the second comes when a key is changed (docs/security.md)." -}}
{{- end -}}
{{- end -}}

{{- define "convnet-kafka.checks.jobs" -}}
{{- $data := .Values.trainer.data -}}
{{- if and (eq $data.source "claim") (not $data.claim.name) -}}
{{- include "convnet-kafka.refuse" "trainer.data.source is claim: name the PersistentVolumeClaim with the class folders in trainer.data.claim.name." -}}
{{- end -}}
{{- if and (eq $data.source "archive") (not $data.archive.url) -}}
{{- include "convnet-kafka.refuse" "trainer.data.source is archive: say in trainer.data.archive.url where it lies." -}}
{{- end -}}
{{- if .Values.client.enabled -}}
{{- $pictures := .Values.client.pictures -}}
{{- if and (eq $pictures.source "image") (not $pictures.folder) -}}
{{- include "convnet-kafka.refuse" "client.pictures.source is image: say in client.pictures.folder where your image has them (client.image)." -}}
{{- end -}}
{{- if and (ne $pictures.source "image") (not $pictures.name) -}}
{{- include "convnet-kafka.refuse" (printf "client.pictures.source is %s: name it in client.pictures.name." $pictures.source) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "convnet-kafka.checks.kinds" -}}
{{- if .Values.crdChecks -}}
{{- $needed := list -}}
{{- if and .Values.kafka.strimzi.cluster (eq .Values.topics.create "auto") }}{{ $needed = append $needed (list "kafka.strimzi.io/v1/KafkaTopic" "kafka.strimzi.cluster" "the Strimzi operator, 1.0 or newer (helm/kafka/README.md)") }}{{ end -}}
{{- if include "convnet-kafka.createsUsers" . }}{{ $needed = append $needed (list "kafka.strimzi.io/v1/KafkaUser" "kafka.users.create" "the Strimzi operator, 1.0 or newer (helm/kafka/README.md)") }}{{ end -}}
{{- range $part := list "server" "classifier" -}}
{{- if eq (index $.Values $part).autoscaling.mode "keda" }}{{ $needed = append $needed (list "keda.sh/v1alpha1/ScaledObject" (printf "%s.autoscaling.mode=keda" $part) "KEDA") }}{{ end -}}
{{- end -}}
{{- if .Values.monitoring.podMonitor.enabled }}{{ $needed = append $needed (list "monitoring.coreos.com/v1/PodMonitor" "monitoring.podMonitor.enabled" "the Prometheus operator") }}{{ end -}}
{{- if .Values.monitoring.prometheusRule.enabled }}{{ $needed = append $needed (list "monitoring.coreos.com/v1/PrometheusRule" "monitoring.prometheusRule.enabled" "the Prometheus operator") }}{{ end -}}
{{- if .Values.gateway.enabled }}{{ $needed = append $needed (list "gateway.networking.k8s.io/v1/HTTPRoute" "gateway.enabled" "the Gateway API, and a controller of it") }}{{ end -}}
{{- range $needed -}}
{{- if not ($.Capabilities.APIVersions.Has (index . 0)) -}}
{{- include "convnet-kafka.refuse" (printf "%s needs objects of the kind %s, which this cluster does not know. Install %s first, or switch it off. Where Helm does not ask the cluster (helm template, Argo CD) set crdChecks=false." (index . 1) (index . 0) (index . 2)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
