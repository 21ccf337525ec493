{{/* Settings of the brokers, as YAML. As the local broker has them (services/convnet_kafka/local/brokersettings.py says why), where they make
     sense for a cluster; a test keeps those equal. */}}
{{- define "kafka.config" -}}
{{- $brokers := int .Values.brokers.replicas -}}
{{- $copies := min 3 $brokers -}}
{{- $inSync := ternary 2 1 (ge $brokers 3) -}}
{{- $record := add (int64 .Values.maxImageBytes) 2097152 -}}
{{- $ours := dict
  "auto.create.topics.enable" false
  "unclean.leader.election.enable" false
  "default.replication.factor" $copies
  "min.insync.replicas" $inSync
  "offsets.topic.replication.factor" $copies
  "transaction.state.log.replication.factor" $copies
  "transaction.state.log.min.isr" $inSync
  "share.coordinator.state.topic.replication.factor" $copies
  "share.coordinator.state.topic.min.isr" $inSync
  "group.consumer.heartbeat.interval.ms" 1000
  "group.consumer.min.heartbeat.interval.ms" 1000
  "group.consumer.session.timeout.ms" 10000
  "group.consumer.min.session.timeout.ms" 6000
  "group.consumer.assignment.interval.ms" 100
  "offsets.retention.minutes" 20160
  "message.max.bytes" $record
  "replica.fetch.max.bytes" $record
-}}
{{- /* A request carries a record and its frame; Kafka's own limit is 100 MiB. */ -}}
{{- if gt (add $record 1048576) 104857600 -}}
{{- $_ := set $ours "socket.request.max.bytes" (add $record 1048576) -}}
{{- end -}}
{{- merge (dict) .Values.config $ours | toYaml -}}
{{- end -}}
