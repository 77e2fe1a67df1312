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

{{/* Not empty where the server reads Pods: rbac.pods says so, or a line of the Corefile or of a file beside it. */}}
{{- define "waypost.readsPods" -}}
{{- $texts := list (include "waypost.corefile" .) -}}
{{- range .Values.zoneFiles -}}{{- $texts = append $texts .contents -}}{{- end -}}
{{- if or .Values.rbac.pods (regexMatch `(?m)^[ \t]*("?pods"?[ \t]+"?verified"?|"?autopath"?[ \t](.*[ \t])?"?@kubernetes"?)[ \t\r]*(#.*)?$` (join "\n" $texts)) -}}
true
{{- end -}}
{{- end -}}
