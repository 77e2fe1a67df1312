{{/*
The ports of the server blocks, as {"53": {"UDP": true, "TCP": true, "nodePort": 0}}. A block whose zones name no scheme has both
protocols, one with dns:// has UDP, and TCP with use_tcp, as in CoreDNS's chart.
*/}}
{{- define "waypost.ports" -}}
{{- $ports := dict -}}
{{- range .Values.servers -}}
{{- $one := default (dict "UDP" true "TCP" false "nodePort" 0) (get $ports (toString .port)) -}}
{{- $schemes := false -}}
{{- range .zones -}}
{{- if .scheme -}}
{{- $schemes = true -}}
{{- if .use_tcp -}}{{- $_ := set $one "TCP" true -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if not $schemes -}}{{- $_ := set $one "TCP" true -}}{{- end -}}
{{- if .nodePort -}}{{- $_ := set $one "nodePort" .nodePort -}}{{- end -}}
{{- $_ := set $ports (toString .port) $one -}}
{{- end -}}
{{- toYaml $ports -}}
{{- end -}}

{{- define "waypost.servicePorts" -}}
{{- $type := .Values.serviceType -}}
{{- range $port, $one := include "waypost.ports" . | fromYaml }}
{{- range $protocol := list "UDP" "TCP" }}
{{- if get $one $protocol }}
- name: {{ lower $protocol }}-{{ $port }}
  port: {{ $port }}
  targetPort: {{ $port }}
  protocol: {{ $protocol }}
  {{- if and $one.nodePort (ne $type "ClusterIP") }}
  nodePort: {{ $one.nodePort }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Ports of the blocks, and that of each `prometheus` in them. */}}
{{- define "waypost.containerPorts" -}}
{{- range $port, $one := include "waypost.ports" . | fromYaml }}
{{- range $protocol := list "UDP" "TCP" }}
{{- if get $one $protocol }}
- {name: {{ lower $protocol }}-{{ $port }}, containerPort: {{ $port }}, protocol: {{ $protocol }}}
{{- end }}
{{- end }}
{{- end }}
{{- $metrics := dict }}
{{- range .Values.servers }}
{{- range .plugins }}
{{- if eq .name "prometheus" }}
{{- $_ := set $metrics (splitList ":" (default "localhost:9153" .parameters | toString) | last) true }}
{{- end }}
{{- end }}
{{- end }}
{{- range $port, $_ := $metrics }}
- {name: tcp-{{ $port }}, containerPort: {{ $port }}, protocol: TCP}
{{- end }}
{{- end -}}
