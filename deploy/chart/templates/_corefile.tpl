{{/* A directive: {name, parameters, configBlock}. */}}
{{- define "waypost.directive" -}}
{{ .name }}
{{- if ne (toString (default "" .parameters)) "" }} {{ .parameters }}{{ end }}
{{- with .configBlock }} {
{{ . | indent 4 }}
}
{{- end }}
{{- end -}}

{{- define "waypost.corefile" -}}
{{- range $name, $directive := .Values.extraConfig }}
{{ include "waypost.directive" (merge (dict "name" $name) $directive) }}
{{- end }}
{{- range .Values.servers }}
{{- $port := .port }}
{{- $keys := list }}
{{- range default (list (dict "zone" ".")) .zones }}
{{- $keys = append $keys (printf "%s%s%s" (default "" .scheme) .zone (ternary (printf ":%v" $port) "" (not (not $port)))) }}
{{- end }}
{{ join " " $keys }} {
{{- range .plugins }}
{{ include "waypost.directive" . | indent 4 }}
{{- end }}
}
{{- end }}
{{- end -}}
